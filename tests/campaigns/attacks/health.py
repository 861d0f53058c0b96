"""The prober of the health endpoint, and an idle server that shows what the machine alone takes meanwhile."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
import time
from dataclasses import dataclass, field

from tests.campaigns.attacks.wire import HOST, Deadline

FAILED_MS = 10_000.0
IDLE = "an idle server on this machine"


class _Idle(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def idle_server() -> http.server.HTTPServer:
    """A server that answers every GET with nothing; it has no client but the prober."""
    return http.server.ThreadingHTTPServer((HOST, 0), _Idle)


@dataclass
class Health:
    """Milliseconds to an answer of any status, 10,000 for none; and how many answers were not 200."""

    times: list[float] = field(default_factory=list)
    refused: int = 0


def probe(port: int, idle_port: int, over: Deadline) -> dict[str, Health]:
    """Ask for `/v2/health/live` 20 times a second on one connection and 5 times on new ones.

    Args:
        port: of the service. idle_port: of the idle server, asked 20 times a second. over: when to end.
    """
    found = {kind: Health() for kind in ("same connection", "new connection", IDLE)}

    def once(connection: http.client.HTTPConnection, health: Health) -> float:
        begun = time.perf_counter()
        try:
            connection.request("GET", "/v2/health/live")
            response = connection.getresponse()
            response.read()
            health.refused += response.status != 200
            return 1e3 * (time.perf_counter() - begun)
        except (OSError, http.client.HTTPException):
            pass
        connection.close()
        time.sleep(0.2)
        return FAILED_MS

    def watch(kind: str, where: int, pause: float) -> None:
        connection = http.client.HTTPConnection(HOST, where, timeout=FAILED_MS / 1e3)
        while not over():
            found[kind].times.append(once(connection, found[kind]))
            if kind == "new connection":
                connection.close()
            time.sleep(pause)

    watched = (("same connection", port, 0.05), ("new connection", port, 0.2), (IDLE, idle_port, 0.05))
    threads = [threading.Thread(target=watch, args=item) for item in watched]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
