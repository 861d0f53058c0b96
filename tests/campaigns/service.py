#!/usr/bin/env python3
"""Attack `mnist-edge serve` on loopback next to 16 well-behaved clients, and report which targets the service meets.

    python -m tests.campaigns.service [--seconds 600] [--memory-mib 256] [--descriptors 64] [--write] [-- SERVE OPTIONS]

It takes `--seconds` (ten minutes by default) and one to two minutes more. The service runs in a cgroup with a memory
limit if one can be made; its memory (PSS and RSS of all its processes) is sampled in any case. Attackers connect from
127.0.0.2 and up, each from its own address, and run at a lower priority than the service and its clients, because on a
network they would have their own processors. The exit code is 1 if a target is missed. `--write` writes the report to
benchmarks/results/campaign.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import HTTPServer
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any

from mnist_edge.store.workspace import SHIPPED
from tests.campaigns.attacks import clients, fuzzing, greedy, health, pictures, processes, slow, swaps
from tests.campaigns.attacks.report import REST_SECONDS, Facts, Options, report
from tests.campaigns.attacks.wire import HOST, Deadline, Ledger, Target

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "campaign.md"
# Time after SIGTERM until the service is killed.
GRACE_SECONDS = 40.0
# Without a cgroup, the campaign ends if the service uses this much memory, to protect the machine.
HARD_MIB = 4096
# Time after the end of the campaign for attackers to report; some wait for a last response.
LATE_SECONDS = 70.0
# Name, attack, and seconds between two attempts. Attacks that use all connections have long pauses, for the others.
ATTACKS: tuple[tuple[str, Callable[[Target, Ledger], None], float], ...] = (
    ("Schemathesis", fuzzing.schemathesis, 1.0),
    ("raw mutated HTTP", fuzzing.raw_http, 0.02),
    ("slow headers", slow.slow_headers, 10.0),
    ("slow bodies", slow.slow_bodies, 10.0),
    ("idle connections", slow.idle, 25.0),
    ("half-closed connections", slow.half_closed, 0.2),
    ("resets", slow.resets, 1.0),
    ("header line of 200 MiB", greedy.header_line, 1.0),
    ("100,000 headers", greedy.header_count, 1.0),
    ("1,000 connections", greedy.connections, 15.0),
    ("100 bodies of 8 MiB", greedy.bodies, 15.0),
    ("too large bodies", greedy.too_large_bodies, 1.0),
    ("JSON bombs", greedy.json_bombs, 0.5),
    ("100,000 form parts", greedy.form_parts, 0.5),
    ("631 large pictures", greedy.many_pictures, 1.0),
    ("picture bombs", pictures.picture_bombs, 0.5),
    ("model swaps", swaps.swap, 0.5),
)


@dataclass(frozen=True)
class Service:
    """The service under attack, as clients and attackers need it.

    Attributes:
        port: port of the service.
        idle: an idle server, to compare with.
        workspace: workspace of the service.
        expected: expected answers to `clients.questions`.
    """

    port: int
    idle: HTTPServer
    workspace: Path
    expected: list[list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--memory-mib", type=int, default=256, help="limit and target of all processes' memory")
    parser.add_argument("--descriptors", type=int, help="file descriptors that the service may open")
    parser.add_argument("--no-cgroup", action="store_true", help="sample memory, do not limit it")
    names = [name for name, _, _ in ATTACKS]
    parser.add_argument("--only", action="append", choices=names, metavar="ATTACKER", help=f"of {', '.join(names)}")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("serve", nargs="*", help="more options of mnist-edge serve, after --")
    given = parser.parse_args()
    attackers = tuple(name for name in names if not given.only or name in given.only)
    options = Options(
        given.seconds, given.memory_mib, given.descriptors, not given.no_cgroup, tuple(given.serve), attackers
    )
    with tempfile.TemporaryDirectory() as scratch:
        lines, passed = campaign(options, Path(scratch))
    print("\n".join(lines))
    if given.write and not given.only:
        RESULTS.write_text("\n".join(lines) + "\n")
    return 0 if passed else 1


def campaign(options: Options, scratch: Path) -> tuple[list[str], bool]:
    """Run the campaign; return its report, and whether every target was met."""
    workspace = scratch / "workspace"
    for model in ("cnn", "dense"):
        shutil.copytree(SHIPPED / model, workspace / model)
    group = processes.MemoryGroup.make(options.memory_mib) if options.cgroup else None
    if options.cgroup and group is None:
        print("No cgroup can be made here: memory is sampled, not limited.", file=sys.stderr)
    port = health.free_port()
    command = [sys.executable, "-m", "mnist_edge", "serve", "--port", str(port), "-o", str(workspace), *options.serve]
    with (scratch / "log").open("wb") as log:
        # `preexec_fn` is safe, because this process has no threads.
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True,
                                   preexec_fn=lambda: processes.enter(group, options.descriptors))  # noqa: PLW1509  # fmt: skip
    try:
        wait_until_ready(process, port)
        expected = expected_answers(port)
        # Memory that a service allocates once, at its first requests, counts as memory at the start.
        clients.run(port, Deadline(time.monotonic() + 3), expected)
        facts = Facts(start=processes.memory(process.pid), each_at_start=processes.each_rss(process.pid))
        (scratch / "openapi.json").write_bytes(openapi_document(port))
        attack(options, process, Service(port, health.idle_server(), workspace, expected), facts)
        if process.poll() is None:
            time.sleep(REST_SECONDS)
        facts.afterwards = processes.memory(process.pid)
        facts.each_afterwards = processes.each_rss(process.pid)
        facts.sigterm_seconds = stop(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if group:
            peak, kills = group.peak(), group.kills()
            group.remove()
    if group:
        facts.group_peak, facts.oom_kills = peak, kills
    facts.log = (scratch / "log").read_text(errors="replace").splitlines()[-10:]
    return report(options, facts)


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the service reports that it is ready."""
    for _ in range(300):
        connection = http.client.HTTPConnection(HOST, port, timeout=2)
        try:
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            if process.poll() is not None:
                break
        finally:
            connection.close()
        time.sleep(0.1)
    raise SystemExit("The service did not start.\n  remedy: run mnist-edge serve by hand and read what it says.")


def openapi_document(port: int) -> bytes:
    """The service's OpenAPI document."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.request("GET", "/openapi.json")
    return connection.getresponse().read()


def expected_answers(port: int) -> list[list[float]]:
    """The service's answers to all questions before the attack; its labels of golden images are checked."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    answers = []
    for question in clients.questions():
        status, body, numbers = clients.ask(connection, question)
        if status != 200:
            raise SystemExit(f"{question.path} answers {status} before any attack: {body[:200]!r}")
        answers.append(numbers)
    connection.close()
    rows = [answer for answer in answers if len(answer) == 10]
    wrong = [at for at, row in enumerate(rows) if row.index(max(row)) != clients.golden_labels()[at // 3]]
    if wrong:
        raise SystemExit(f"The service's answers to golden images {wrong} are wrong before any attack.")
    return answers


def attack(options: Options, process: subprocess.Popen[bytes], service: Service, facts: Facts) -> None:
    """Run clients, health prober and attackers until the time is over or the service ends; collect their reports."""
    greedy.prepare(Target.body_bytes)
    pictures.bombs()
    until = time.monotonic() + options.seconds
    context = multiprocessing.get_context("fork")
    ended = context.Event()
    over = Deadline(until, ended.is_set)
    queue: Queue[tuple[str, Any]] = context.Queue()
    jobs = [
        context.Process(target=_well_behaved, args=(queue, service, over)),
        context.Process(target=_prober, args=(queue, service, over)),
        *(
            context.Process(target=_attacker, args=(queue, service, over, number))
            for number, (name, _, _) in enumerate(ATTACKS)
            if name in options.attackers
        ),
    ]
    idle = context.Process(target=service.idle.serve_forever, daemon=True)
    for job in (idle, *jobs):
        job.start()
    while time.monotonic() < until and facts.died is None:
        now = processes.memory(process.pid)
        facts.peak = processes.Memory(max(facts.peak.pss, now.pss), max(facts.peak.rss, now.rss))
        facts.largest = max(facts.largest, processes.peak_rss(process.pid))
        facts.samples += 1
        if process.poll() is not None or now.pss > HARD_MIB:
            facts.died = options.seconds - (until - time.monotonic())
        time.sleep(0.2)
    ended.set()
    deadline = time.monotonic() + LATE_SECONDS
    while len(facts.reports) < len(jobs) and time.monotonic() < deadline:
        with contextlib.suppress(Empty):
            name, value = queue.get(timeout=0.5)
            facts.reports[name] = value
    for job in (idle, *jobs):
        job.kill()
        job.join()


def _well_behaved(queue: Queue[tuple[str, Any]], service: Service, over: Deadline) -> None:
    queue.put(("clients", clients.run(service.port, over, service.expected)))


def _prober(queue: Queue[tuple[str, Any]], service: Service, over: Deadline) -> None:
    queue.put(("health", health.probe(service.port, service.idle.server_port, over)))


def _attacker(queue: Queue[tuple[str, Any]], service: Service, over: Deadline, number: int) -> None:
    name, attempt, pause = ATTACKS[number]
    os.nice(10)
    random.seed(number)
    target, ledger = Target(service.port, f"127.0.0.{number + 2}", over, service.workspace), Ledger()
    while not target.over:
        ledger.counts["attempts"] += 1
        try:
            attempt(target, ledger)
        except TimeoutError:
            ledger.count("not connected")
        except OSError as error:
            ledger.count(type(error).__name__)
        time.sleep(pause)
    queue.put((name, ledger))


def stop(process: subprocess.Popen[bytes]) -> float | None:
    """Seconds from SIGTERM to the end of the process; None if it had ended before, or has not ended after 40 s."""
    if process.poll() is not None:
        return None
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())
