#!/usr/bin/env python3
"""Truncate and edit the shipped model files, and open the results with every engine, with and without a manifest.

    python -m tests.campaigns.hostile --count 1000  # 50 minutes on two cores; the default of 20 takes a few minutes

Every case is a `mnist-edge predict` in a worker process. There is one worker for each file and engine with a manifest,
and one without. A worker must never be ended by a signal, every exit code must be a documented one, and a file that
differs from its manifest must be refused before an engine is imported. ``--write`` writes the table to
benchmarks/results/hostile.md.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mnist_edge.runtime import engine_names
from mnist_edge.store.manifest import MANIFEST_NAME
from mnist_edge.store.workspace import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "hostile.md"
NATIVE = ("ai_edge_litert", "tflite_runtime", "onnxruntime")
EXIT_CODES = (0, 1, 2, 3, 4, 5)
KINDS = ("cut", "edit")
# Half of the edits are in this many bytes at both ends of a file, where its structure is; the others change weights.
END_BYTES = 8192


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="truncations of each file, and as many edits")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="workers at a time")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random truncations and edits")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--json", action="store_true", help="print the rows of the table as JSON")
    parser.add_argument("--worker", nargs=3, metavar=("FILE", "ENGINE", "MANIFEST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(*options.worker, options.seed, options.count)
    files = [path for path in sorted(SHIPPED.glob("*/*")) if engine_names(path.suffix)]
    work = [(str(path), engine, manifest) for path in files for engine in engine_names(path.suffix)
            for manifest in ("with", "without")]  # fmt: skip
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(lambda item: supervise(item, options.seed, options.count), work))
    if options.json:
        print(json.dumps(rows))
    lines = table(rows, options.count, options.seed, time.monotonic() - begun)
    print("\n".join(lines), file=sys.stderr if options.json else sys.stdout)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n")
    bad = [
        row
        for row in rows
        if row["deaths"] or row["undocumented"] or (row["manifest"] == "with" and not row["refused"])
    ]
    return 1 if bad else 0


def supervise(item: tuple[str, str, str], seed: int, count: int) -> dict:
    """Run the cases of one worker; if a case kills it, count that, and continue with the next case in a new worker."""
    path, engine, manifest = item
    rows, deaths, engine_imported = [], 0, False
    while len(rows) < count * len(KINDS):
        command = [
            sys.executable,
            "-m",
            "tests.campaigns.hostile",
            "--worker",
            path,
            engine,
            manifest,
            "--seed",
            str(seed),
        ]
        done = subprocess.run(
            [*command, "--count", str(count)],
            input=str(len(rows)),
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        for line in done.stdout.splitlines():
            if line.startswith("case "):
                rows.append(json.loads(line[5:]))
            elif line == "native":
                engine_imported = True
        if len(rows) < count * len(KINDS):
            deaths += 1
            rows.append({"code": done.returncode, "why": "death"})
    codes = collections.Counter(row["code"] for row in rows)
    return {
        "file": Path(path).name, "engine": engine, "manifest": manifest, "n": len(rows), "deaths": deaths,
        "codes": {str(code): codes[code] for code in EXIT_CODES},
        "why": collections.Counter(row["why"] for row in rows),
        "undocumented": sum(count for code, count in codes.items() if code not in EXIT_CODES) - deaths,
        "refused": manifest == "with" and codes[4] == len(rows) and not engine_imported,
    }  # fmt: skip


def worker(name: str, engine: str, manifest: str, seed: int, count: int) -> int:
    """Run `mnist-edge predict` on every variant of a file, in this process, and print a line for each."""
    from PIL import Image

    from mnist_edge.cli import main as program

    whole, skip = Path(name).read_bytes(), int(sys.stdin.read())
    with tempfile.TemporaryDirectory() as folder:
        picture, path = Path(folder) / "digit.png", Path(folder) / Path(name).name
        Image.linear_gradient("L").resize((28, 28)).save(picture)
        if manifest == "with":
            shutil.copy(Path(name).with_name(MANIFEST_NAME), folder)
        for at in range(skip, count * len(KINDS)):
            path.write_bytes(variant(whole, KINDS[at // count], random.Random(f"{seed} {at} {Path(name).name}")))
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
                code = program(["predict", str(picture), "--raw", "--model", str(path), "--engine", engine, "--json"])
            text = output.getvalue()
            message = json.loads(text).get("error", {}).get("message", "") if text else ""
            print("case " + json.dumps({"code": code, "why": reason(code, message)}), flush=True)
        if any(module in sys.modules for module in NATIVE):
            print("native", flush=True)
    return 0


def variant(whole: bytes, kind: str, rng: random.Random) -> bytes:
    """A damaged copy of a file: a prefix of it, or one with one to four changed bytes."""
    if kind == "cut":
        return whole[: rng.randrange(len(whole))]
    edited = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.5:
            at = rng.choice([rng.randrange(END_BYTES), len(edited) - 1 - rng.randrange(END_BYTES)])
        else:
            at = rng.randrange(len(edited))
        edited[at] ^= rng.randint(1, 255)
    return bytes(edited)


def reason(code: int, message: str) -> str:
    """The column of the table for a case, from its exit code and its error message."""
    if code == 0:
        return "answers"
    for words, name in (
        ("SHA-256", "checksum"), ("ends the engine", "trial died"), ("refuses", "engine refuses"),
        ("cannot be run", "engine refuses"), ("metadata", "contract"), ("NaN", "answers NaN"),
    ):  # fmt: skip
        if words in message:
            return name
    return "structure" if code == 4 else f"exit {code}"


def table(rows: list[dict], count: int, seed: int, seconds: float) -> list[str]:
    """The report as lines of Markdown."""
    reasons = ("checksum", "structure", "contract", "engine refuses", "trial died", "answers NaN", "answers")
    files = len({row["file"] for row in rows})
    head = ["file", "engine", "manifest", "cases", "parent died", "exit 0", "exit 4", "other", *reasons]
    lines = [
        "# Damaged files", "",
        f"`python -m tests.campaigns.hostile --count {count} --write`: {count:,} truncations and {count:,} edits of",
        f"one to four bytes (half of them in the first and last 8 KiB), seed {seed}; {seconds:.0f} s. With a manifest",
        "every case must be refused before native code is entered: no engine is imported in that process.", "",
        f"{files} files x {2 * count:,} variants: {files * 2 * count:,} different damaged files. All engines of a",
        "file, with and without a manifest, get the same variants.", "",
        f"| {' | '.join(head)} |", "|" + "---|" * len(head),
    ]  # fmt: skip
    for row in rows:
        other = row["n"] - row["codes"]["0"] - row["codes"]["4"]
        cells = [row["file"], row["engine"], row["manifest"], row["n"], row["deaths"],
                 row["codes"]["0"], row["codes"]["4"], other,
                 *(row["why"].get(name, 0) for name in reasons)]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
