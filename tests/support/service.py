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
    """A response by HTTP; names of headers are in lower case."""

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
    """A running service that listens on a port of 127.0.0.1."""

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
        """GET a path, or POST a body to it, on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            content = json.dumps(body).encode() if isinstance(body, dict) else body
            connection.request("GET" if body is None else "POST", path, content, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def connect(self, source: str | None = None, timeout: float = 30) -> socket.socket:
        """A new connection, from a given address of the loopback network if ``source`` is given."""
        return socket.create_connection(
            ("127.0.0.1", self.port), timeout, source_address=(source, 0) if source else None
        )

    def send(self, content: bytes, timeout: float = 30) -> bytes:
        """Send bytes; return the answer up to the end of the connection, or until nothing arrives for ``timeout`` s."""
        with self.connect(timeout=timeout) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(content)
            return received(connection)

    def alive(self) -> bool:
        return self.ask("/v2/health/ready").json == {"ready": True}

    def metric(self, line: str) -> float:
        """Value of a metric in ``/metrics``, given with its labels; 0 if it is missing."""
        for found in self.ask("/metrics").body.decode().splitlines():
            if found.startswith(f"{line} "):
                return float(found.rpartition(" ")[2])
        return 0.0

    def processes(self) -> list[int]:
        """Process ids of the supervisor and of its children."""
        return [self.process.pid, *children(self.process.pid)]

    def servers(self) -> list[int]:
        """Process ids of the processes that answer requests."""
        return [pid for pid in children(self.process.pid) if not _is_decoder(pid)]

    def decoders(self) -> list[int]:
        """Process ids of the processes that decode pictures."""
        return [pid for pid in children(self.process.pid) if _is_decoder(pid)]

    def has_decoders(self, each: int) -> bool:
        """Whether there are ``each`` decoders per server. A decoder that has no limit yet is counted as a server."""
        return each * len(self.servers()) == len(self.decoders()) > 0

    def memory(self) -> int:
        """Memory of all processes in bytes; pages that they share are counted once (PSS)."""
        return sum(_proportional_bytes(pid) for pid in self.processes())


def children(parent: int) -> list[int]:
    """Process ids of the children of a process, without zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            if int(ppid) == parent and state != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


def _is_decoder(pid: int) -> bool:
    """Whether a process is a decoder: only decoders have a limit on their address space."""
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
    """Processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def received(connection: socket.socket) -> bytes:
    """Bytes that arrive until the peer closes or resets the connection, or until the timeout."""
    parts = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def wait_until(condition: Callable[[], Any], seconds: float = 20, what: str = "") -> float:
    """Wait until a condition holds; the test fails after ``seconds``. Returns the seconds that it took."""
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
    """Start ``mnist-edge serve`` with one model, and end it with all its processes after the block.

    Args:
        folder: the workspace.
        words: more options.
        stderr: destination of standard error; if given, ``port`` must be given too.
        port: to listen on; 0 for any free one.
        decoders: number of decoders per server to wait for.
        environment: more environment variables.
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
        remaining = children(process.pid)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.stderr is not None:
            process.stderr.close()


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
    """Polls the health of a service during a block, and records the slowest answer and the largest memory.

    Attributes:
        slowest: seconds of the slowest answer.
        asked: number of answers.
        memory: largest memory of the service in bytes; ``before`` is that at the beginning.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._over = service, threading.Event()
        self.slowest, self.asked, self.memory = 0.0, 0, service.memory()
        self.before = self.memory
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._measure_memory)]

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
        """Largest growth of the service's memory, in bytes."""
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

    def _measure_memory(self) -> None:
        while not self._over.wait(0.05):
            self.memory = max(self.memory, self._service.memory())


def image_body(count: int = 1) -> dict[str, Any]:
    """Body of a valid request of the Open Inference Protocol."""
    shape = [count, 28, 28]
    return {"inputs": [{"name": "image", "shape": shape, "datatype": "UINT8", "data": [0] * 784 * count}]}


def post(path: str, body: bytes, *fields: bytes) -> bytes:
    """POST request, as the bytes sent on the connection."""
    lines = [b"POST %s HTTP/1.1" % path.encode(), b"Host: localhost", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def binary_request(name: str, datatype: str, shape: list[int], content: bytes) -> bytes:
    """Request of the Open Inference Protocol with one binary tensor, as the bytes sent on the connection."""
    size = {"binary_data_size": len(content)}
    text = json.dumps({"inputs": [{"name": name, "shape": shape, "datatype": datatype, "parameters": size}]}).encode()
    length = b"Inference-Header-Content-Length: %d" % len(text)
    return post(INFER, text + content, length, b"Connection: close")


def pictures_request(pictures: list[bytes]) -> bytes:
    """Request to classify pictures, as the bytes sent on the connection."""
    packed = b"".join(struct.pack("<I", len(content)) + content for content in pictures)
    return binary_request("picture", "BYTES", [len(pictures)], packed)


def drawing(size: int = 280) -> bytes:
    """PNG of a vertical stroke, which is read as a one."""
    pixels = np.full((size, size), 255, np.uint8)
    pixels[size // 5 : -size // 5, size * 9 // 20 : size * 11 // 20] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
