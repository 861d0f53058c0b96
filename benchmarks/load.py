"""Shared parts of the service benchmarks: load by wrk and h2load, environments of peers, memory of processes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.campaigns.attacks.processes import memory, peak_rss, tree

HOST = "127.0.0.1"
START_SECONDS = 90.0
REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
BROKEN = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")

H2_RATE = re.compile(r"finished in [\d.]+\w+, ([\d.]+) req/s")
H2_FAILED = re.compile(r"\d+ failed, (\d+) errored")
H2_DATA = re.compile(r"\((\d+)\) data")


@dataclass(frozen=True)
class Load:
    """Result of one run of a load generator: requests per second, latencies, and number of failed requests."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def tail(self) -> float:
        """Ratio p99 / p50; infinite if there was no answer."""
        return self.p99_ms / self.p50_ms if self.p50_ms else float("inf")


@dataclass(frozen=True)
class Body:
    """A request's body and headers."""

    content: bytes
    headers: Mapping[str, str]


def require(program: str, package: str) -> None:
    """Exit with a message if a program is missing."""
    if shutil.which(program) is None:
        sys.exit(f"{program} is missing.\n  remedy: apt-get install {package}")


def wrk_script(folder: Path, name: str, bodies: Sequence[Body]) -> Path:
    """Script for wrk that sends POST requests with the given bodies in turn."""
    lines = ["local requests = {}", "local at = 0", "init = function()"]
    for number, body in enumerate(bodies):
        path = folder / f"{name}-{number}.body"
        path.write_bytes(body.content)
        headers = ", ".join(f'["{key}"] = "{value}"' for key, value in body.headers.items())
        lines.append(
            f'  requests[{number + 1}] = wrk.format("POST", nil, {{{headers}}}, io.open("{path}", "rb"):read("*a"))'
        )
    lines += ["end", "request = function()", "  at = at % #requests + 1", "  return requests[at]", "end"]
    script = folder / f"{name}.lua"
    script.write_text("\n".join(lines) + "\n")
    return script


def wrk(url: str, script: Path, connections: int, seconds: float) -> Load:
    """Load a POST endpoint with keep-alive connections."""
    words = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s", "--latency",
             "--timeout", "20s", "-s", str(script), url]  # fmt: skip
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    refused, broken = REFUSED.search(text), BROKEN.search(text)
    failed = (int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0)
    return Load(float(rate[1]), _milliseconds(text, "50%"), _milliseconds(text, "99%"), failed)


@dataclass(frozen=True)
class H2Load:
    """Settings of a run of h2load.

    Attributes:
        connections: number of connections.
        seconds: duration.
        http1: use HTTP/1.1 instead of HTTP/2.
        least: bytes of data in a correct answer. A failed gRPC call has status 200 too, but no data; the number of
            failed calls is computed from the bytes that are missing in the total.
    """

    connections: int
    seconds: float
    http1: bool
    least: int


def h2load(url: str, body: Body, settings: H2Load, folder: Path) -> Load:
    """Load a POST endpoint by HTTP/1.1 or HTTP/2, one request at a time on each connection.

    Args:
        url: of the endpoint.
        body: of each request.
        settings: of the run.
        folder: for temporary files.
    """
    content, log = folder / "h2load.body", folder / "h2load.log"
    content.write_bytes(body.content)
    log.unlink(missing_ok=True)  # h2load appends
    duration = str(max(1, round(settings.seconds)))
    words = ["h2load", "-c", str(settings.connections), "-m", "1", "-D", duration, "-d", str(content),
             f"--log-file={log}", *(["--h1"] if settings.http1 else []),
             *(word for key, value in body.headers.items() for word in ("-H", f"{key}: {value}")), url]  # fmt: skip
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rate, statuses, data = H2_RATE.search(text), H2_FAILED.search(text), H2_DATA.search(text)
    assert rate is not None and statuses is not None and data is not None, text
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(row[2]) / 1e3 for row in rows)
    refused = sum(not row[1].startswith("2") for row in rows)
    empty = max(0, round(len(rows) - int(data[1]) / settings.least) - refused)
    at99 = min(len(times) - 1, int(0.99 * len(times)))
    return Load(float(rate[1]), median(times), times[at99], refused + int(statuses[1]) + empty)


def _milliseconds(text: str, share: str) -> float:
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s|m)\b", text)
    assert found is not None, text
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[found[2]]


def environment(folder: Path, name: str, requirements: Sequence[str]) -> Path:
    """Python of a virtual environment with the given packages, which is made if need be and kept between runs."""
    home = folder / name
    python, made = home / "bin" / "python", home / "requirements"
    wanted = "\n".join(requirements)
    if not (made.is_file() and made.read_text() == wanted):
        print(f"making the environment {home}", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        words = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
        subprocess.run(words, check=True, stdout=sys.stderr)
        made.write_text(wanted)
    return python


def versions(python: Path, packages: Sequence[str]) -> str:
    """Names and versions of packages in an environment."""
    code = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def free_port() -> int:
    """A free port of 127.0.0.1."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Running:
    """A running server: its main process, and the seconds from its start to its first answer."""

    pid: int
    started_seconds: float

    def pss_mib(self) -> float:
        """Proportional set size of the process and its descendants, in MiB."""
        return memory(self.pid).pss

    def peak_mib(self) -> float:
        """Peak resident memory of any process of the tree, in MiB."""
        return peak_rss(self.pid)


@contextlib.contextmanager
def running(words: Sequence[object], url: str, log: Path, folder: Path | None = None) -> Iterator[Running]:
    """Start a server, wait for its first answer (of any status) at a URL, and end all its processes after the block."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KSERVE")}
    begun = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen([str(word) for word in words], stdout=stream, stderr=stream, cwd=folder, env=clean,
                                   start_new_session=True)  # fmt: skip
    try:
        while not _answers(url):
            if process.poll() is not None or time.monotonic() - begun > START_SECONDS:
                raise RuntimeError(f"{words[0]} does not answer:\n" + log.read_text(errors="replace")[-3000:])
            time.sleep(0.01)
        yield Running(process.pid, time.monotonic() - begun)
    finally:
        children = tree(process.pid)[1:]
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
