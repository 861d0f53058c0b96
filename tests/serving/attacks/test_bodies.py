"""Bodies made to take much memory or time: each is refused with a JSON error, and health checks are still answered."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import (
    DIGITS,
    HEADERS,
    INFER,
    MIB,
    PREDICT,
    Service,
    Watch,
    drawing,
    image_body,
    pictures_request,
    post,
    serving,
    wait_until,
)

pytestmark = pytest.mark.slow
# Longest time for a health check, in seconds: long, because the machine may be busy. The figures of an idle machine are
# in benchmarks/results.
SLOWEST_HEALTH = 1.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("none")) as made:
        yield made


def tensor(**changes: Any) -> bytes:
    whole = image_body()
    whole["inputs"][0].update(changes)
    return json.dumps(whole).encode()


BOMBS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "strings of unlike lengths": lambda: (PREDICT, json.dumps({"instances": ["a" * 100_000, "b" * 1000]}).encode()),
    "1 MB of strings": lambda: (PREDICT, json.dumps({"instances": ["a" * 1_000_000, *"b" * 1000]}).encode()),
    "strings as data": lambda: (INFER, tensor(data=["a" * 1_000_000, *"b" * 1000])),
    "a shape of 100,000 dimensions": lambda: (INFER, tensor(shape=[2147483647] * 100_000)),
    "500 sizes of 2**31": lambda: (INFER, tensor(shape=[2**31] * 500)),
    "four sizes of 2**31": lambda: (INFER, tensor(shape=[2**31] * 4)),
    "8 MiB of lists": lambda: (PREDICT, b'{"instances": [' + b"[1]," * (2 * MIB - 8) + b"[1]]}"),
    "8 MiB of objects": lambda: (PREDICT, b'{"instances": [' + b"{}," * (2 * MIB) + b"{}]}"),
    "8 MiB of data": lambda: (INFER, b'{"inputs": [{"data": [' + b"1," * (3 * MIB) + b"1]}]}"),
    "8 MiB of brackets": lambda: (INFER, b"[" * 8 * MIB),
    "a name of 7 MiB": lambda: (INFER, tensor(name="x" * 7 * MIB)),
    "an id of 7 MiB": lambda: (INFER, json.dumps({**image_body(), "id": "x" * 7 * MIB}).encode()),
    "100,000 keys": lambda: (INFER, json.dumps({str(at): 0 for at in range(100_000)}).encode()),
    "a number of 5,000 digits": lambda: (INFER, tensor(data=[1]).replace(b"[1]", b"[" + b"9" * 5000 + b"]")),
    "a size of 5,000 digits": lambda: (INFER, tensor(shape=[7]).replace(b"[7]", b"[" + b"9" * 5000 + b"]")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_json_bomb_is_refused_with_little_memory_and_time(service: Service, name: str) -> None:
    path, body = BOMBS[name]()
    with Watch(service) as watch:
        answer = service.ask(path, body)
    assert answer.status in (400, 413), answer.body
    assert answer.error
    assert watch.slowest < SLOWEST_HEALTH
    assert watch.growth < 96 * MIB


NOT_TYPED = {
    "a list as datatype": tensor(datatype=[]),
    "an object as datatype": tensor(datatype={}),
    "true in a shape": tensor(shape=[True, 28, 28]),
    "a fraction in a shape": tensor(shape=[1.5, 28, 28]),
    "null as data": tensor(data=None),
    "an object as data": tensor(data={}),
    "true as data": tensor(data=[True] * 784),
    "no tensor": b'{"inputs": [null]}',
    "half a surrogate": tensor(name="\ud800"),
    "no UTF-8": b'{"inputs": "\xff\xfe"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "NUL": b"\x00" * 1000,
}


@pytest.mark.parametrize("name", NOT_TYPED)
@pytest.mark.parametrize("path", [INFER, PREDICT])
def test_a_value_of_another_type_gets_a_400(service: Service, path: str, name: str) -> None:
    body = NOT_TYPED[name]
    answer = service.ask(path, body)
    assert (answer.status, bool(answer.error)) == (400, True)
    large = b" " * 70_000 + body  # read by a decoding process
    assert service.ask(path, large).status == 400


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "²", "", "0x10", "+2", "99999999999999999999"])
def test_a_header_length_that_is_not_a_number_gets_a_400(service: Service, length: str) -> None:
    answer = service.send(
        post(INFER, tensor(), b"Inference-Header-Content-Length: " + length.encode(), b"Connection: close")
    )
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]


def test_a_form_of_100_000_parts_does_not_delay_health_checks(service: Service) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    many = part * 100_000 + b"--x--\r\n"
    with Watch(service) as watch:
        answer = service.ask(DIGITS, many, {"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status, bool(answer.error)) == (400, True)
    assert watch.slowest < SLOWEST_HEALTH


@pytest.mark.parametrize(
    "form",
    [
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n'
        + b"A: b\r\n" * 300_000
        + b"\r\n1\r\n--x--",
        b"--x\r\nContent-Disposition: form-data; " + b"a" * 4 * MIB,
        b"--x\r\n" * 300_000,
        b"\r\n" * 1_000_000,
    ],
)
def test_a_form_of_endless_headers_is_refused(service: Service, form: bytes) -> None:
    with Watch(service) as watch:
        answer = service.ask(DIGITS, form, {"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status in (400, 504)
    assert answer.error
    assert watch.slowest < SLOWEST_HEALTH


def test_64_clients_that_send_64_images_each_do_not_delay_health_checks(service: Service) -> None:
    body = json.dumps(image_body(64)).encode()
    end = time.monotonic() + 3

    def ask(_: int) -> set[int]:
        seen = set()
        while time.monotonic() < end:
            seen.add(service.ask(INFER, body).status)
        return seen

    with Watch(service) as watch, concurrent.futures.ThreadPoolExecutor(64) as pool:
        statuses = set().union(*pool.map(ask, range(64)))
    assert statuses <= {200, 503}
    assert 200 in statuses
    assert watch.slowest < SLOWEST_HEALTH


def test_bodies_of_many_slow_clients_share_one_budget(service: Service) -> None:
    """100 connections slowly send 8 MiB each: most are refused, memory is bounded, small requests are answered."""
    head = b"POST /v1/digits HTTP/1.1\r\n" + HEADERS + b"Content-Length: %d\r\n\r\n" % (8 * MIB)
    with Watch(service) as watch, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(service.connect()) for _ in range(100)]
        begun = time.monotonic()
        for connection in connections:
            connection.sendall(head)
            connection.setblocking(False)
        piece = bytes(65_536)
        refused: set[socket.socket] = set()

        def most_are_refused() -> bool:
            for connection in connections:
                if connection not in refused:
                    try:
                        connection.send(piece)
                    except BlockingIOError:
                        pass
                    except OSError:
                        refused.add(connection)
                    with contextlib.suppress(OSError):
                        if connection.recv(100):
                            refused.add(connection)
            return len(refused) > 50

        # A body that is not complete after 10 s is refused as too slow. Such refusals must not count.
        wait_until(most_are_refused, begun + 9 - time.monotonic(), "most bodies are refused")
        assert service.ask(INFER, image_body()).status == 200
        assert service.ask(DIGITS, drawing()).status == 200
    assert watch.growth < 80 * MIB
    wait_until(lambda: service.memory() - watch.before < 40 * MIB, what="memory is released")
    assert service.ask(DIGITS, bytes(4 * MIB)).status == 400  # not 503: the budget is released, too


def test_work_ends_soon_after_its_client_has_disconnected(tmp_path: Path) -> None:
    """200 pictures take seconds. After the client has disconnected, decoding stops soon, and the queue is empty."""
    with serving(tmp_path) as service:
        with service.connect() as connection:
            connection.sendall(pictures_request([drawing(1500)] * 200))
            time.sleep(0.1)
        wait_until(lambda: service.metric("mnist_edge_queue") == 0, 2, "the work ends")
