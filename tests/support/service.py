"""A running service, its processes, and raw connections to it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MIB = 2**20
INFER, PREDICT, DIGITS = "/v2/models/dense/infer", "/v1/models/dense:predict", "/v1/digits"
HEADERS = b"Host: localhost\r\n"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of a typed error."""
        assert list(self.json) == ["error"], self.body
        return str(self.json["error"])


@dataclass(frozen=True)
class Service:
    """A service that listens on a port of loopback."""

    process: subprocess.Popen[bytes]
    port: int
    address: str

    def ask(
        self,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """GET a path, or POST a body to it, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            content = json.dumps(body).encode() if isinstance(body, dict) else body
            connection.request("GET" if body is None else "POST", path, content, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def connect(self, source: str | None = None, timeout: float = 30) -> socket.socket:
        """A connection, from an address of loopback."""
        return socket.create_connection(
            ("127.0.0.1", self.port), timeout, source_address=(source, 0) if source else None
        )

    def send(self, content: bytes, timeout: float = 30) -> bytes:
        """What the service answers to bytes until it closes the connection, or says nothing for so long."""
        with self.connect(timeout=timeout) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(content)
            return received(connection)

    def alive(self) -> bool:
        return self.ask("/v2/health/ready").json == {"ready": True}

    def metric(self, line: str) -> float:
        """The value of a line of ``/metrics``; 0 if there is none."""
        for found in self.ask("/metrics").body.decode().splitlines():
            if found.startswith(f"{line} "):
                return float(found.rpartition(" ")[2])
        return 0.0

    def processes(self) -> list[int]:
        """Process numbers: the supervisor and its children."""
        return [self.process.pid, *children(self.process.pid)]

    def servers(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if not _is_decoder(pid)]

    def decoders(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if _is_decoder(pid)]

    def has_decoders(self, each: int) -> bool:
        """Whether each server has so many decoders; one that was forked but has no limit yet counts as a server."""
        return each * len(self.servers()) == len(self.decoders()) > 0

    def memory(self) -> int:
        """Bytes of memory of all processes; what they share is counted once."""
        return sum(_proportional_bytes(pid) for pid in self.processes())


def children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


def _is_decoder(pid: int) -> bool:
    """Decoders alone have a limit on their memory."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        return next(line for line in lines if line.startswith("Max address space")).split()[3] != "unlimited"
    return False


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def received(connection: socket.socket) -> bytes:
    """What comes until the other side closes or resets the connection, or nothing comes within the timeout."""
    parts = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def wait_until(condition: Callable[[], Any], seconds: float = 20, what: str = "") -> float:
    """Seconds until a condition holds; fails if it does not within ``seconds``."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            pytest.fail(f"not within {seconds} s: {what or condition}")
        time.sleep(0.05)
    return time.monotonic() - begun


@contextlib.contextmanager
def serving(
    folder: Path, *words: object, stderr: Any = None, port: int = 0, decoders: int = 2, **environment: str
) -> Iterator[Service]:
    """``mnist-edge serve`` with one model, until the block ends; whatever is left is then ended.

    Args:
        folder: the workspace. words: more options. stderr: where its standard error goes; then ``port`` must be given.
        port: to listen on; 0: one that is free. decoders: processes that decode for each server.
        environment: more variables.
    """
    command = [sys.executable, "-m", "mnist_edge", "serve", "--port", str(port), "-o", str(folder)]
    command += [] if "--model" in words else ["--model", "dense"]
    command += [str(word) for word in words]
    process = subprocess.Popen(
        command, stderr=stderr or subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    address = ""
    try:
        if stderr is None:
            address = _address(process)
            port = int(address.rpartition(":")[2].partition("/")[0])
        service = Service(process, port, address)
        tls = address.startswith("https")
        wait_until(lambda: tls or _answers(service), what="the service starts")
        wait_until(lambda: service.has_decoders(decoders), what="the decoders start")
        yield service
    finally:
        process.send_signal(signal.SIGCONT)
        left = service_processes(process.pid)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.stderr is not None:
            process.stderr.close()


def service_processes(pid: int) -> list[int]:
    return children(pid)


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line.decode())
        if line.startswith(b"serving at "):
            return lines[-1].removeprefix("serving at ").strip()
    pytest.fail("".join(lines))


def _answers(service: Service) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return service.ask("/v2/health/ready", timeout=5).status in (200, 401)
    if service.process.poll() is not None:
        pytest.fail(f"the service has ended with {service.process.returncode}")
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Watch:
    """Asks a service for its health all the time; remembers the slowest answer, and the most memory."""

    def __init__(self, service: Service) -> None:
        self._service, self._over = service, threading.Event()
        self.slowest, self.asked, self.memory = 0.0, 0, service.memory()
        self.before = self.memory
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._weigh)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.1)
        self._over.set()
        for thread in self._threads:
            thread.join()
        assert self.asked

    @property
    def growth(self) -> int:
        """Bytes by which memory has grown at most."""
        return self.memory - self.before

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=60)
        with contextlib.closing(connection):
            while not self._over.is_set():
                begun = time.monotonic()
                connection.request("GET", "/v2/health/live")
                assert connection.getresponse().read() == b'{"live":true}'
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.asked += 1
                self._over.wait(0.01)

    def _weigh(self) -> None:
        while not self._over.wait(0.05):
            self.memory = max(self.memory, self._service.memory())


def image_body(count: int = 1) -> dict[str, Any]:
    """A good request of the Open Inference Protocol."""
    shape = [count, 28, 28]
    return {"inputs": [{"name": "image", "shape": shape, "datatype": "UINT8", "data": [0] * 784 * count}]}


def post(path: str, body: bytes, *fields: bytes) -> bytes:
    """A request as bytes."""
    lines = [b"POST %s HTTP/1.1" % path.encode(), b"Host: localhost", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def binary_request(name: str, datatype: str, shape: list[int], content: bytes) -> bytes:
    """A request of the Open Inference Protocol with one binary tensor, as bytes."""
    size = {"binary_data_size": len(content)}
    text = json.dumps({"inputs": [{"name": name, "shape": shape, "datatype": datatype, "parameters": size}]}).encode()
    length = b"Inference-Header-Content-Length: %d" % len(text)
    return post(INFER, text + content, length, b"Connection: close")


def pictures_request(pictures: list[bytes]) -> bytes:
    """A request to classify pictures, as bytes."""
    packed = b"".join(struct.pack("<I", len(content)) + content for content in pictures)
    return binary_request("picture", "BYTES", [len(pictures)], packed)


def drawing(size: int = 280) -> bytes:
    """A PNG of a vertical stroke: a one."""
    pixels = np.full((size, size), 255, np.uint8)
    pixels[size // 5 : -size // 5, size * 9 // 20 : size * 11 // 20] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
