"""Time limits of work, and processes that are suspended, killed, stopped or replaced in every state."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mnist_edge.serving.batching import Batcher
from mnist_edge.serving.limits import Limits
from mnist_edge.serving.service import Service as State
from tests.support.service import (
    DIGITS,
    INFER,
    Service,
    Watch,
    children,
    drawing,
    image_body,
    pictures_request,
    processor_seconds,
    serving,
    wait_until,
)

pytestmark = pytest.mark.slow
MANY_LARGE_PICTURES = pictures_request([drawing(4000)] * 300)
LIMIT, GRACE = 3, 2


@contextlib.contextmanager
def attacked(service: Service, requests: int = 2) -> Iterator[list[concurrent.futures.Future[bytes]]]:
    """Run the block while the service works on requests with 300 large pictures each."""
    with concurrent.futures.ThreadPoolExecutor(requests) as pool:
        asked = [pool.submit(service.send, MANY_LARGE_PICTURES, 20) for _ in range(requests)]
        wait_until(lambda: service.metric("mnist_edge_queue") >= requests, 10, "the work begins")
        yield asked


def test_hundreds_of_large_pictures_delay_no_other_request_and_time_out(tmp_path: Path) -> None:
    """Two requests of 300 pictures: others are answered, both get a 504, and then no further picture is decoded."""
    with serving(tmp_path, "--timeout", LIMIT) as service:
        begun = time.monotonic()
        with Watch(service) as watch, attacked(service) as asked:
            while time.monotonic() - begun < LIMIT - 1:
                assert service.ask(INFER, image_body()).status == 200
                assert service.ask(DIGITS, drawing()).status == 200
            assert service.ask("/v2/health/ready").status == 200
            wait_until(lambda: service.metric("mnist_edge_queue") == 0, LIMIT + 6, "the work ends")
            wait_until(lambda: are_idle(service.decoders()), 6, "the decoders end the pictures that they had")
        assert watch.slowest < 1.0
        for answer in asked:
            assert answer.result().startswith(b"HTTP/1.1 504 ")
        assert service.alive()


def are_idle(processes: list[int]) -> bool:
    """Whether none of the processes uses the processor for a second."""
    with contextlib.suppress(FileNotFoundError):  # a process has ended meanwhile
        used = [processor_seconds(pid) for pid in processes]
        time.sleep(1.0)
        return [processor_seconds(pid) for pid in processes] == used
    return False


def replaced(now: list[int], before: list[int]) -> bool:
    """Whether there are two new processes and none of the earlier ones; a killed process takes a moment to end."""
    return len(now) == 2 and not set(now) & set(before)


def test_suspended_decoding_processes_are_replaced(tmp_path: Path) -> None:
    """After SIGSTOP, the job ends with 504, its process is killed, and the next job succeeds."""
    with serving(tmp_path) as service:
        stopped = service.decoders()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: service.ask(DIGITS, drawing()).status, range(2)))
        assert answers == [504, 504]
        wait_until(lambda: replaced(service.decoders(), stopped), what="two other decoders")
        assert service.ask(DIGITS, drawing()).status == 200
        assert service.metric("mnist_edge_decoder_restarts_total") == 2


def test_killed_decoding_processes_are_replaced(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        for _ in range(3):
            killed = service.decoders()
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: replaced(service.decoders(), killed))  # noqa: B023
            assert service.ask(DIGITS, drawing()).status == 200
        assert service.alive()


def idle(_: Service) -> None:
    """Do nothing."""


def with_connections(service: Service) -> None:
    """Leave connections open: one without a request, one within a head and one within a body."""
    for content in (b"", b"GET /v2 HT", b"POST /v1/digits HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"):
        connection = service.connect()
        connection.sendall(content)
        KEPT.append(connection)


def decoder_stopped(service: Service) -> None:
    """Suspend the decoding processes with SIGSTOP, then send a request."""
    for pid in service.decoders():
        os.kill(pid, signal.SIGSTOP)
    connection = service.connect()
    connection.sendall(MANY_LARGE_PICTURES)
    KEPT.append(connection)
    time.sleep(0.3)


def server_stopped(service: Service) -> None:
    """Suspend the server process with SIGSTOP."""
    os.kill(service.servers()[0], signal.SIGSTOP)


def server_just_killed(service: Service) -> None:
    """Kill the server process, so that the supervisor is waiting to start another one."""
    os.kill(service.servers()[0], signal.SIGKILL)
    time.sleep(0.2)


# Connections that stay open until the end of a test.
KEPT: list[socket.socket] = []


@pytest.mark.parametrize("state", [idle, with_connections, decoder_stopped, server_stopped, server_just_killed])
def test_sigterm_ends_every_process_within_the_grace_period(tmp_path: Path, state: Callable[[Service], None]) -> None:
    with serving(tmp_path, "--grace", GRACE) as service:
        state(service)
        processes = service.processes()
        begun = time.monotonic()
        service.process.terminate()
        assert service.process.wait(GRACE + 3) == 0
        assert time.monotonic() - begun < (1.5 if state is idle else GRACE + 2)
        wait_until(lambda: not any(is_alive(pid) for pid in processes), 2, "all processes have ended")
    while KEPT:
        KEPT.pop().close()


def test_sigterm_ends_a_busy_service_within_the_grace_period(tmp_path: Path) -> None:
    """Work that would take minutes is aborted."""
    with serving(tmp_path, "--grace", GRACE, "--timeout", 60) as service, attacked(service):
        processes = service.processes()
        begun = time.monotonic()
        service.process.terminate()
        assert service.process.wait(GRACE + 3) == 0
        assert time.monotonic() - begun < GRACE + 2
        wait_until(lambda: not any(is_alive(pid) for pid in processes), 2, "all processes have ended")


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_stop_signal_to_all_processes_at_once_still_lets_accepted_pictures_be_answered(tmp_path: Path) -> None:
    """systemd and a terminal send the signal to all processes: decoding processes continue until their server ends."""
    with serving(tmp_path) as service, concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.send, pictures_request([drawing(2000)] * 10), 20)
        wait_until(lambda: service.metric("mnist_edge_queue") >= 1, 10, "the work begins")
        for pid in service.processes():
            os.kill(pid, signal.SIGTERM)
        assert answer.result().startswith(b"HTTP/1.1 200 ")
        assert service.process.wait(10) == 0


def test_a_killed_server_is_replaced_and_a_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        first = service.processes()
        os.kill(service.servers()[0], signal.SIGKILL)
        wait_until(lambda: answers_again(service), what="the port answers again")
        assert service.ask(DIGITS, drawing()).status == 200
        assert set(service.processes()) & set(first) == {service.process.pid}
        wait_until(lambda: len(service.decoders()) == 2)
        left = children(service.process.pid)
        service.process.kill()
        wait_until(lambda: not any(is_alive(pid) for pid in left), what="its children end")


def answers_again(service: Service) -> bool:
    with contextlib.suppress(OSError):
        return service.ask("/v2/health/ready", timeout=3).status == 200
    return False


def test_two_servers_share_the_requests_and_the_metrics(tmp_path: Path) -> None:
    """Both work; ``/metrics`` adds their counts, and drops the open connections of a killed one."""
    with serving(tmp_path, "--workers", 2) as service:
        wait_until(lambda: len(service.decoders()) == 4)
        servers = service.servers()
        assert len(servers) == 2
        before = {pid: processor_seconds(pid) for pid in servers}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: service.ask(INFER, image_body()).status, range(600)))
        assert answers == [200] * 600
        line = 'mnist_edge_requests_total{route="/v2/models/{model}/infer",status="200"}'
        assert {service.metric(line) for _ in range(20)} == {600}
        assert all(processor_seconds(pid) > before[pid] for pid in servers)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(service.connect())
            wait_until(lambda: 20 <= service.metric("mnist_edge_connections") <= 23, 5, "both count connections")
            for pid in servers:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not set(servers) & set(service.servers()) and len(service.decoders()) == 4)
            assert service.metric("mnist_edge_connections") < 5
        assert service.metric(line) == 600


class StuckSession:
    """A substitute for a session whose engine takes 2 s."""

    def predict(self, _: Any) -> Any:
        time.sleep(2)
        return np.zeros((1, 10), np.float32)


def test_the_service_is_not_ready_while_its_engine_is_stuck() -> None:
    """The engine works on one batch for longer than a request may take."""

    class Models:
        def __init__(self, batcher: Batcher) -> None:
            self.longest_seconds = batcher.longest_seconds

    class Decoders:
        def available(self) -> bool:
            return True

    async def reasons() -> list[str | None]:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sessions = [cast(Any, StuckSession()) for _ in range(2)]
            batcher = Batcher(sessions, pool, 0, 0.0, lambda *_: None)
            limits = Limits(work_seconds=0.5)
            made = State(cast(Any, Models(batcher)), limits, *cast(Any, (None, Decoders(), None, None)), threads=1)
            seen = [made.why_not_ready()]
            work = asyncio.create_task(batcher.predict(np.zeros((1, 28, 28), np.uint8)))
            await asyncio.sleep(1.0)
            seen.append(made.why_not_ready())
            await work
            await asyncio.sleep(0)
            seen.append(made.why_not_ready())
            made.stopping = True
            return [*seen, made.why_not_ready()]

    before, stuck, after, stopping = asyncio.run(reasons())
    assert before is None
    assert after is None
    assert stuck is not None
    assert "engine" in stuck
    assert stopping is not None
    assert "stopping" in stopping
