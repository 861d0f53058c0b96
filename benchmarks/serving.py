#!/usr/bin/env python3
"""The service under load on loopback, against the same framework's empty endpoint, interleaved in one run.

    python benchmarks/serving.py [--seconds 5] [--rounds 3]

Needs wrk. Requests/s and p99 with 1, 8 and 64 connections for the empty endpoint (bare Starlette on uvicorn), V2 binary
and JSON of one image, and `/v1/digits` of a PNG; then 200,000 requests with the process's memory before and after, and
the health endpoint's slowest answer meanwhile. The load and the service share this machine's cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx
from PIL import Image

from mnist_edge import data
from mnist_edge.runtime.machine import described_processor, machine

RESULTS = Path(__file__).resolve().parent / "results" / "serving.md"
CONNECTIONS = (1, 8, 64)
EMPTY = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def empty(request):
    await request.body()
    return JSONResponse({})
uvicorn.run(Starlette(routes=[Route("/", empty, methods=["POST"])]), port=int(sys.argv[1]), log_level="warning")
"""
ENDING = re.compile(r"Non-2xx or 3xx responses: (\d+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    here = machine()
    lines = [
        "# The service under load", "",
        f"`python benchmarks/serving.py --seconds {options.seconds} --rounds {options.rounds}`: wrk on loopback, "
        f"medians of interleaved rounds; {described_processor(here)}, {here.cores} cores shared with the load, "
        f"Python {here.python}. "
        "Failed: answers that are not 2xx (503 says that the queue is full).", "",
        "| connections | endpoint | requests/s | times the empty one | p50 ms | p99 ms | failed |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch, both(Path(scratch)) as (empty, served, pid):
        scripts = bodies(Path(scratch))
        contenders = {
            "empty (bare framework)": (empty, scripts["json"]),
            "V2, binary": (f"{served}v2/models/cnn/infer", scripts["binary"]),
            "V2, JSON": (f"{served}v2/models/cnn/infer", scripts["json"]),
            "`/v1/digits`, PNG": (f"{served}v1/digits", scripts["png"]),
        }
        for connections in CONNECTIONS:
            taken: dict[str, list[tuple[float, float, float, int]]] = {name: [] for name in contenders}
            for _ in range(options.rounds):
                for name, (url, script) in contenders.items():
                    taken[name].append(wrk(url, script, connections, options.seconds))
            base = [row[0] for row in taken["empty (bare framework)"]]
            for name, rows in taken.items():
                rate, p50, p99 = (median(row[at] for row in rows) for at in range(3))
                ratio = median(row[0] / one for row, one in zip(rows, base, strict=True))
                failed = sum(row[3] for row in rows)
                lines.append(
                    f"| {connections} | {name} | {rate:,.0f} | {ratio:.2f} | {p50:.2f} | {p99:.2f} | {failed} |"
                )
                print(lines[-1], flush=True)
        lines += ["", *endurance(served, pid, scripts["binary"])]
    RESULTS.write_text("\n".join(lines) + "\n")


def endurance(served: str, pid: int, script: Path) -> list[str]:
    """200,000 requests: memory before and after, the health endpoint's slowest answer."""
    slowest, stop = [0.0], threading.Event()

    def watch() -> None:
        with httpx.Client() as client:
            while not stop.wait(0.05):
                begun = time.perf_counter()
                client.get(f"{served}v2/health/live")
                slowest[0] = max(slowest[0], time.perf_counter() - begun)

    watcher = threading.Thread(target=watch)
    watcher.start()
    url, done, sizes = f"{served}v2/models/cnn/infer", 0, []
    while done < 200_000:
        rate, *_ = wrk(url, script, 64, 5)
        done += round(5 * rate)
        sizes.append(resident(pid))
    stop.set()
    watcher.join()
    line = (
        f"{done:,} requests over 64 connections: {sizes[0] / 2**20:.1f} MiB resident after the first "
        f"{done // len(sizes):,}, {sizes[-1] / 2**20:.1f} at the end; the health endpoint's slowest answer took "
        f"{1e3 * slowest[0]:.0f} ms."
    )
    print(line)
    return [line]


@contextlib.contextmanager
def both(scratch: Path) -> Iterator[tuple[str, str, int]]:
    port = 18_099
    bare = subprocess.Popen([sys.executable, "-c", EMPTY, str(port)])
    command = [sys.executable, "-m", "mnist_edge", "serve", "--port", "0", "-o", str(scratch), "--queue", "256"]
    ours = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert ours.stderr is not None
        address = (
            next(line for line in ours.stderr if line.startswith("serving at")).removeprefix("serving at ").strip()
        )
        time.sleep(2)
        yield f"http://127.0.0.1:{port}/", address, ours.pid
    finally:
        bare.terminate()
        ours.terminate()


def bodies(folder: Path) -> dict[str, Path]:
    """Wrk's scripts: what is sent."""
    image = data.load_test()[0].images[0]
    stream = io.BytesIO()
    Image.fromarray(image[..., 0]).save(stream, "PNG")
    tensor = {"name": "image", "shape": [1, 28, 28, 1], "datatype": "UINT8"}
    as_json = json.dumps({"inputs": [{**tensor, "data": image.ravel().tolist()}]}).encode()
    head = json.dumps({
        "inputs": [{**tensor, "parameters": {"binary_data_size": image.size}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }).encode()  # fmt: skip
    made = {}
    for name, body, headers in (
        ("json", as_json, {}),
        ("binary", head + image.tobytes(), {"Inference-Header-Content-Length": str(len(head))}),
        ("png", stream.getvalue(), {}),
    ):
        (folder / f"{name}.body").write_bytes(body)
        text = f'wrk.method = "POST"\nwrk.body = io.open("{folder}/{name}.body", "rb"):read("*a")\n'
        text += "".join(f'wrk.headers["{key}"] = "{value}"\n' for key, value in headers.items())
        made[name] = folder / f"{name}.lua"
        made[name].write_text(text)
    return made


def wrk(url: str, script: Path, connections: int, seconds: int) -> tuple[float, float, float, int]:
    """Requests/s, p50 and p99 in ms, and how many were answered with something else than 2xx."""
    words = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(connections),
        "-d",
        f"{seconds}s",
        "--latency",
        "--timeout",
        "20s",
        "-s",
        script,
        url,
    ]
    said = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout
    found = ENDING.search(said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate is not None, said
    return float(rate[1]), milliseconds(said, "50%"), milliseconds(said, "99%"), int(found[1]) if found else 0


def milliseconds(said: str, share: str) -> float:
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", said)
    assert found is not None, said
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    main()
