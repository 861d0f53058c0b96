"""Connections made to take much memory or time: large heads and trailers, silence, large numbers, unread responses."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import (
    DIGITS,
    HEADERS,
    INFER,
    MIB,
    Service,
    Watch,
    drawing,
    image_body,
    post,
    received,
    serving,
    wait_until,
)

pytestmark = pytest.mark.slow
SLOWEST_HEALTH = 1.0  # seconds; see test_bodies
TOKEN = "a-long-enough-token"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a token: these attacks need none, because they precede the check of the token."""
    with serving(tmp_path_factory.mktemp("none"), "--token", TOKEN) as made:
        yield made


START = b"GET /v2 HTTP/1.1\r\n" + HEADERS
HEADS = {
    "200 fields": START + b"a: b\r\n" * 200 + b"\r\n",
    "500,000 fields": START + b"a:\r\n" * 500_000,
    "one field of 32 MiB": START + b"a: " + b"b" * 32 * MIB,
    "one name of 32 MiB": START + b"a" * 32 * MIB,
    "a path of 32 MiB": b"GET /" + b"a" * 32 * MIB,
    "64 KiB in 64 fields": START + (b"a: " + b"b" * 1022 + b"\r\n") * 64 + b"\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_beyond_the_limits_is_refused_before_it_takes_memory(service: Service, name: str) -> None:
    with Watch(service) as watch:
        answer = service.send(HEADS[name])
    # The system may drop a response if the client is still sending.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    if len(HEADS[name]) < 100_000:
        assert list(json.loads(answer.partition(b"\r\n\r\n")[2])) == ["error"]
    assert watch.growth < 16 * MIB
    assert watch.slowest < SLOWEST_HEALTH


CHUNKED = b"POST /v1/digits HTTP/1.1\r\n" + HEADERS + b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
CHUNKED += b"Transfer-Encoding: chunked\r\n\r\n"
FRAMES = {
    "a trailer of 200 fields": CHUNKED + b"1\r\nx\r\n0\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    "a trailer of 8 MiB": CHUNKED + b"1\r\nx\r\n0\r\na: " + b"b" * 8 * MIB,
    "a chunk extension of 8 MiB": CHUNKED + b"1;a=" + b"b" * 8 * MIB,
    "two million chunks": CHUNKED + b"1\r\nx\r\n" * 2_000_000,
}


@pytest.mark.parametrize("name", FRAMES)
def test_the_framing_of_a_body_is_bounded(service: Service, name: str) -> None:
    with Watch(service) as watch:
        answer = service.send(FRAMES[name])
    assert answer == b"" or answer.split(maxsplit=2)[1] in (b"400", b"413", b"431"), answer[:200]
    assert watch.growth < 24 * MIB
    assert watch.slowest < SLOWEST_HEALTH


def test_a_trailer_adds_no_header_field(service: Service) -> None:
    """A token in a trailer is not accepted."""
    head = b"POST /v2/repository/index HTTP/1.1\r\n" + HEADERS
    trailer = b"Authorization: Bearer %s\r\n\r\n" % TOKEN.encode()
    body = b"2\r\n{}\r\n0\r\n" + trailer
    whole = head + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    assert service.send(whole).startswith(b"HTTP/1.1 401 ")


def test_pipelined_requests_are_limited(service: Service) -> None:
    """A client that pipelines requests without end gets some responses, and takes little memory."""
    requests = (START + b"\r\n") * 100_000
    with Watch(service) as watch, service.connect(timeout=3) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(requests)
        answers = received(connection)
    assert answers == b"" or answers.startswith(b"HTTP/1.1 401 ")
    assert watch.growth < 16 * MIB
    assert watch.slowest < SLOWEST_HEALTH
    few = service.send((START + b"\r\n") * 4 + START + b"Connection: close\r\n\r\n")
    assert few.count(b"HTTP/1.1 401 ") == 5


def test_silent_and_slow_connections_are_closed(service: Service) -> None:
    """All attempts run at once; each is ended by its limit of ten seconds, or somewhat later on a busy machine."""
    bearer = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
    cases = {
        "says nothing": (b"", b""),
        "half a first line": (b"GET /v", b" 408 "),
        "half a head": (START + b"a: b\r\n", b" 408 "),
        "half a head after a request": (START + b"\r\n" + START, b" 408 "),
        "half a body": (b"POST /v1/digits HTTP/1.1\r\n" + HEADERS + bearer + b"Content-Length: 9\r\n\r\nabc", b" 408 "),
        "half a body without a token": (
            b"POST /v1/digits HTTP/1.1\r\n" + HEADERS + b"Content-Length: 9\r\n\r\na",
            b"401",
        ),
    }

    def attempt(case: tuple[bytes, bytes]) -> tuple[float, bytes]:
        begun = time.monotonic()
        with service.connect(timeout=25) as connection:
            connection.sendall(case[0])
            answer = received(connection)
        return time.monotonic() - begun, answer

    def drip(_: int) -> tuple[float, bytes]:
        """Send a byte of a head each half second, so that no pause is long."""
        begun = time.monotonic()
        with service.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(START)
            while time.monotonic() - begun < 25:
                connection.sendall(b"a")
                time.sleep(0.5)
        return time.monotonic() - begun, b""

    def empty_line() -> tuple[float, bytes]:
        """Send an empty line after a response; a request may begin with an empty line."""
        with service.connect(timeout=25) as connection:
            connection.sendall(START + b"\r\n")
            connection.recv(10_000)
            connection.sendall(b"\r\n")
            begun = time.monotonic()
            received(connection)
        return time.monotonic() - begun, b""

    with concurrent.futures.ThreadPoolExecutor(len(cases) + 2) as pool:
        slow, empty = pool.submit(drip, 0), pool.submit(empty_line)
        results = dict(zip(cases, pool.map(attempt, cases.values()), strict=True))
    results["a byte each half second"], results["an empty line"] = slow.result(), empty.result()
    for name, (seconds, answer) in results.items():
        assert seconds < 16, name
        assert cases.get(name, (b"", b""))[1] in answer, (name, answer)


def test_a_client_that_closes_its_sending_side_gets_its_response(service: Service) -> None:
    whole = post(DIGITS, drawing(), b"Authorization: Bearer " + TOKEN.encode())
    with service.connect(timeout=10) as connection:
        connection.sendall(whole)
        connection.shutdown(socket.SHUT_WR)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"label":1' in answer
    with service.connect(timeout=10) as connection:  # a client whose request is incomplete is disconnected at once
        connection.sendall(whole[:-10])
        connection.shutdown(socket.SHUT_WR)
        begun = time.monotonic()
        received(connection)
        assert time.monotonic() - begun < 5


def test_clients_that_do_not_read_their_responses_are_disconnected(tmp_path: Path) -> None:
    """Clients request more than socket buffers hold and read nothing: memory is bounded, and they are disconnected."""
    request = b"GET /docs HTTP/1.1\r\n" + HEADERS + b"\r\n"
    with serving(tmp_path) as service, contextlib.ExitStack() as stack:
        with Watch(service) as watch:
            connections = []
            for _ in range(40):
                connection = stack.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", service.port))
                connection.setblocking(False)
                connections.append(connection)
            for _ in range(400):
                for connection in connections:
                    with contextlib.suppress(OSError):
                        connection.send(request)
                time.sleep(0.005)
            assert service.ask(INFER, image_body()).status == 200
            wait_until(lambda: service.metric("mnist_edge_connections") < 10, 20, "slow readers are disconnected")
        assert watch.growth < 64 * MIB
        assert watch.slowest < SLOWEST_HEALTH


BEGINNINGS = {
    "silent": b"",
    "in a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    "in a body after a request": b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    b"POST /v1/digits HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n1234",
    "in a body": b"POST /v1/digits HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n1234",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_connections_are_limited_in_total_and_per_address(tmp_path: Path, beginning: bytes) -> None:
    """One address may have 15 of 20 connections. When all are in use, the address with most of them loses one."""
    with serving(tmp_path, "--connections", 20) as service, contextlib.ExitStack() as stack:

        def opened(source: str, count: int) -> int:
            """Open ``count`` connections from an address; return how many of them stay open."""
            kept = 0
            for _ in range(count):
                connection = stack.enter_context(service.connect(source))
                with contextlib.suppress(OSError):  # it may have been refused already
                    connection.sendall(beginning)
                connection.settimeout(0.2)
                answer = b""
                try:
                    while part := connection.recv(1000):
                        answer += part
                    assert answer.startswith(b"HTTP/1.1 503 "), answer
                    assert b"too many connections" in answer
                except TimeoutError:
                    kept += 1
            return kept

        first = stack.enter_context(service.connect("127.0.0.2"))
        first.sendall(beginning)
        assert opened("127.0.0.2", 17) == 14
        assert service.ask("/v2/health/ready").status == 200
        assert opened("127.0.0.3", 3) == 3
        assert opened("127.0.0.4", 6) == 6
        assert service.ask("/v2/health/ready").status == 200
        first.settimeout(5)
        with contextlib.suppress(ConnectionResetError):  # raised if the service had not read everything
            while first.recv(1000):
                pass  # the response to its first request
        stack.close()
        wait_until(lambda: service.ask("/v2/health/ready").status == 200, 5, "there is room again")


def test_silent_tls_connections_are_limited_and_closed(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """Connections without a handshake are counted, and closed after five seconds; others are answered meanwhile."""
    import ssl

    context = ssl.create_default_context(cafile=str(certificate[0]))
    words = ("--certfile", certificate[0], "--keyfile", certificate[1])
    with serving(tmp_path, *words) as service, contextlib.ExitStack() as stack:

        def alive() -> bool:
            with context.wrap_socket(service.connect(timeout=10), server_hostname="localhost") as connection:
                connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\n" + HEADERS + b"Connection: close\r\n\r\n")
                return received(connection).endswith(b'{"ready":true}')

        assert alive()
        before = service.memory()
        silent = [stack.enter_context(service.connect("127.0.0.2", timeout=15)) for _ in range(200)]
        assert alive()
        assert service.memory() - before < 64 * MIB
        begun = time.monotonic()
        for connection in silent:
            received(connection)
        assert time.monotonic() - begun < 12
        assert alive()
