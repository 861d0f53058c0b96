"""Timing of health checks during the attack, and of an idle server, whose times show the load of the machine itself."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
import time
from dataclasses import dataclass, field

from tests.campaigns.attacks.wire import HOST, Deadline

# Time that counts for a health check without a response.
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
    """A server that responds to every GET with an empty body; only `probe` sends requests to it."""
    return http.server.ThreadingHTTPServer((HOST, 0), _Idle)


@dataclass
class Health:
    """Times of health checks in milliseconds (`FAILED_MS` without a response), and how many had another status."""

    times: list[float] = field(default_factory=list)
    refused: int = 0


def probe(port: int, idle_port: int, over: Deadline) -> dict[str, Health]:
    """Request `/v2/health/live` 20 times a second on one connection, and 5 times a second on new connections.

    Args:
        port: port of the service.
        idle_port: port of the idle server, to which 20 requests a second are sent.
        over: the deadline.
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
    """A port of 127.0.0.1 on which no program listens now."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
