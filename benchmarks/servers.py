#!/usr/bin/env python3
"""HTTP servers for the service: cost and built-in limits of each. Writes benchmarks/results/servers.md.

    python benchmarks/servers.py [--seconds 4] [--rounds 5] [--environments FOLDER] [--only NAME ...]

uvicorn with httptools and with h11, granian and hypercorn run the same ASGI application, which reads a body and answers
`{}`, each in a virtual environment that this script makes and keeps, and with the options that its documentation gives
against greedy and slow clients. Each is attacked from this machine, then loaded by wrk (apt-get install wrk). The last
row is `mnist-edge serve`, which is attacked only.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import load
import platformdirs
from http_servers import APPLICATION, HYPERCORN, SERVED, SERVERS, Server

from mnist_edge.measure.machine import described_processor, machine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.campaigns.attacks.wire import Deadline, Ledger, Target, flood, head, is_ready, long_header, many_headers

RESULTS = Path(__file__).resolve().parent / "results" / "servers.md"
BOUND_SECONDS = 40.0
HEADER_BYTES, HEADERS = 200 * 2**20, 100_000
CONNECTIONS = 1500


@dataclass
class Row:
    """Measurements of one server; memory in MiB."""

    started: float = 0.0
    pss: float = 0.0
    pss_after: float = 0.0
    versions: str = ""
    wheels: str = ""
    attacks: dict[str, str] = field(default_factory=dict)
    loads: dict[int, list[load.Load]] = field(default_factory=lambda: {8: [], 64: []})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4, help="duration of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*(server.name for server in SERVERS), SERVED.name])
    cache = platformdirs.user_cache_path("mnist-edge") / "servers"
    parser.add_argument("--environments", type=Path, default=cache)
    options = parser.parse_args()
    load.require("wrk", "wrk")
    chosen = [server for server in (*SERVERS, SERVED) if not options.only or server.name in options.only]
    rows = {server.name: Row() for server in chosen}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "application.py").write_text(APPLICATION)
        (folder / "hypercorn.toml").write_text(HYPERCORN)
        pythons = {server.name: python_of(server, options.environments) for server in chosen}
        for server in chosen:
            row = rows[server.name]
            row.versions = load.versions(pythons[server.name], server.packages)
            row.wheels = arm_wheels(pythons[server.name], server.packages)
            attack(server, pythons[server.name], row, folder)
        throughput([server for server in chosen if server is not SERVED], pythons, rows, options, folder)
    lines = page(chosen, rows, options)
    print("\n".join(lines))
    if not options.only:
        RESULTS.write_text("\n".join(lines) + "\n")


def python_of(server: Server, environments: Path) -> Path:
    """Python of the server's environment; mnist-edge runs in the environment of this script."""
    if not server.requirements:
        return Path(sys.executable)
    return load.environment(environments, server.name.replace(", ", "-"), server.requirements)


def arm_wheels(python: Path, packages: tuple[str, ...]) -> str:
    """For each package, whether it has a wheel for Python 3.11 on 64-bit Arm, as text."""
    found = []
    for package in packages:
        with tempfile.TemporaryDirectory() as scratch:
            words = [str(python), "-m", "pip", "download", "-q", "--disable-pip-version-check", "--only-binary=:all:",
                     "--platform", "manylinux2014_aarch64", "--platform", "manylinux_2_28_aarch64",
                     "--python-version", "3.11", "--no-deps", "-d", scratch, package]  # fmt: skip
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        found.append(f"{package} {'yes' if done.returncode == 0 else 'no'}")
    return ", ".join(found)


@contextlib.contextmanager
def fresh(server: Server, python: Path, folder: Path) -> Iterator[tuple[load.Running, int]]:
    """Start a new process of a server; yields it and its port."""
    port = load.free_port()
    path = "/v2/health/live" if server is SERVED else "/"
    words = server.command(python, port)
    with load.running(words, f"http://{load.HOST}:{port}{path}", folder / f"{server.name}.log", folder) as process:
        yield process, port


def attack(server: Server, python: Path, row: Row, folder: Path) -> None:
    """Run each attack on a new process, and record its outcome as text."""
    print(server.name, file=sys.stderr, flush=True)
    starts = []
    for _ in range(3):
        with fresh(server, python, folder) as (process, port):
            starts.append(process.started_seconds)
            time.sleep(1)
            row.pss = process.pss_mib()
    row.started = median(starts)
    for name, pieces in (("header line", long_header(HEADER_BYTES)), ("headers", many_headers(HEADERS))):
        with fresh(server, python, folder) as (process, port):
            ended = flood(_target(port), Ledger(), pieces)
            row.attacks[name] = f"{described(ended.sent)}, {ended.outcome}, peak {process.peak_mib():.0f} MiB"
    with fresh(server, python, folder) as (_, port), concurrent.futures.ThreadPoolExecutor(3) as pool:
        slow = {name: pool.submit(closed_after, port, beginning, piece) for name, beginning, piece in (
            ("slow headers", b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"a"),
            ("silent", b"", b""),
            ("keep-alive", head("/v2/health/live", method="GET"), b""),
        )}  # fmt: skip
        row.attacks |= {name: future.result() for name, future in slow.items()}
    with fresh(server, python, folder) as (process, port):
        row.attacks["connections"] = many_connections(port)
        row.attacks["connections"] += f", peak {process.peak_mib():.0f} MiB"


def closed_after(port: int, beginning: bytes, piece: bytes) -> str:
    """Time until the server closes a connection that sends a piece every second, as text."""
    begun = time.monotonic()
    with _target(port).connect() as connection:
        connection.sendall(beginning)
        answered = ""
        while time.monotonic() - begun < BOUND_SECONDS:
            time.sleep(1 if piece else 0.2)
            while is_ready(connection):
                try:
                    content = connection.recv(65_536)
                except OSError:
                    content = b""
                if not content:
                    return f"closed after {time.monotonic() - begun:.0f} s{answered}"
                if piece:  # an answer to an unfinished request
                    answered = f", {content.split()[1].decode(errors='replace')}"
            if piece:
                with contextlib.suppress(OSError):
                    connection.send(piece)
    return f"not closed in {BOUND_SECONDS:.0f} s"


def many_connections(port: int) -> str:
    """Number of silent connections from one address that stay open, and the answer to another address, as text."""
    opened: list[socket.socket] = []
    with contextlib.suppress(OSError):
        for _ in range(CONNECTIONS):
            opened.append(_target(port).connect(2))
    time.sleep(2)
    kept = sum(not is_ready(connection) for connection in opened)
    ledger = Ledger()
    with contextlib.suppress(OSError), _target(port, "127.0.0.3").connect(3) as other:
        other.sendall(head("/v2/health/live", method="GET"))
        ledger.answer(other)
    for connection in opened:
        connection.close()
    return f"{kept:,} of {CONNECTIONS:,} held, another address: {next(iter(ledger.counts), 'not connected')}"


def _target(port: int, source: str = "127.0.0.2") -> Target:
    return Target(port, source, Deadline(time.monotonic() + 120), Path())


def throughput(
    servers: list[Server], pythons: dict[str, Path], rows: dict[str, Row], options: argparse.Namespace, folder: Path
) -> None:
    """Load all servers in turn, in several rounds."""
    script = load.wrk_script(folder, "empty", [load.Body(b"", {})])
    with contextlib.ExitStack() as stack:
        started = {server.name: stack.enter_context(fresh(server, pythons[server.name], folder)) for server in servers}
        for turn in range(options.rounds):
            for connections in (8, 64):
                for name in list(started) if turn % 2 == 0 else list(reversed(started)):
                    url = f"http://{load.HOST}:{started[name][1]}/"
                    rows[name].loads[connections].append(load.wrk(url, script, connections, options.seconds))
                    print(name, connections, rows[name].loads[connections][-1], file=sys.stderr, flush=True)
        for name, (process, _) in started.items():
            rows[name].pss_after = process.pss_mib()


def page(servers: list[Server], rows: dict[str, Row], options: argparse.Namespace) -> list[str]:
    """Results as Markdown."""
    here, first = machine(), rows.get(SERVERS[0].name)
    lines = [
        "# HTTP servers: what each costs, and what it enforces by itself", "",
        "| server | 8 connections, times uvicorn with httptools | 64 connections | requests/s at 8, at 64 | "
        "PSS at rest, after the load, MiB | start, s | wheels for 64-bit Arm, Python 3.11 |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for server in servers:
        row = rows[server.name]
        ratios, rates, pss = ["", ""], "", f"{row.pss:.0f}"
        if row.loads[8] and first is not None and first.loads[8]:
            ratios = [spread([one.rate / base.rate for one, base in zip(row.loads[at], first.loads[at], strict=True)])
                      for at in (8, 64)]  # fmt: skip
            rates = ", ".join(f"{median(one.rate for one in row.loads[at]):,.0f}" for at in (8, 64))
            pss += f", {row.pss_after:.0f}"
        cells = " | ".join([*ratios, rates, pss, f"{row.started:.2f}", row.wheels])
        lines.append(f"| {server.name} | {cells} |")
    lines += [
        "", f"| server | header line of {HEADER_BYTES // 2**20} MiB: taken, answer, memory | {HEADERS:,} headers | "
        "headers at 1 byte/s | a connection that sends nothing | idle after an answer | "
        f"{CONNECTIONS:,} silent connections from one address | options that limit |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    keys = ("header line", "headers", "slow headers", "silent", "keep-alive", "connections")
    for server in servers:
        cells = " | ".join(rows[server.name].attacks[key] for key in keys)
        lines.append(f"| {server.name} | {cells} | {server.options} |")
    command = f"python benchmarks/servers.py --seconds {options.seconds:g} --rounds {options.rounds}"
    return [
        *lines, "",
        f"`{command}`: {described_processor(here)}, {here.cores} cores shared by the servers and wrk, Python "
        f"{here.python}. Medians of interleaved rounds, with the lowest and the highest. "
        "Taken: bytes sent until the server answered or closed, bytes in socket buffers included. "
        + "; ".join(f"{name}: {row.versions}" for name, row in rows.items()) + ".",
    ]  # fmt: skip


def described(size: int) -> str:
    """A size in bytes as text, with a unit."""
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 1024:.0f} KiB"


def spread(ratios: list[float]) -> str:
    """Text of the median, with the lowest and the highest value."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
