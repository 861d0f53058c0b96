#!/usr/bin/env python3
"""Install mnist-edge on a board, verify and measure it, and write one JSON file to send in. Needs only Python >= 3.11.

    python3 tools/pi/report.py [--wheel FILE | --program FILE] [--data FOLDER] [--seconds 5] [--output FILE]

The script installs the wheel, or by default this clone, into a new environment next to the script; with --program it
uses an installed `mnist-edge` (such as one from a bundle's install.sh). It verifies the models in the wheel on the
10,000 test images with every installed engine, then measures them on one thread and on all cores. A failed gate and a
throttled processor are reported in the file, and such a report is as welcome as any other. The file contains no
personal data: no user name, no host name, and no path outside the package.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLONE = HERE.parent.parent
SCHEMA_VERSION = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="wheel of mnist-edge to install; by default this clone")
    parser.add_argument("--program", type=Path, help="installed mnist-edge to use, so that nothing is installed")
    parser.add_argument("--data", type=Path, help="folder with MNIST's files; by default they are downloaded")
    parser.add_argument("--seconds", type=float, default=5, help="time of each measurement")
    parser.add_argument("--output", type=Path, help="file to write")
    options = parser.parse_args()
    program = options.program or installed(options.wheel)
    if program is None:
        return 5
    source = ["--data", str(options.data)] if options.data else []
    verified = answer([program, "verify", "--shipped", "--json", *source])
    threads = sorted({1, os.cpu_count() or 1})
    words = [word for count in threads for word in ("--threads", str(count))]
    measured = answer([program, "bench", "--shipped", "--seconds", str(options.seconds), *words, "--json"])
    if verified is None or measured is None:
        return 5
    report = {"schema_version": SCHEMA_VERSION, "command": "report", "verify": verified, "bench": measured}
    for row in verified.get("results", []):
        row["changes"] = None  # the pictures of images with another label would make the file large
    text = json.dumps(report, indent=1, sort_keys=True)
    folder = re.escape(str(Path(measured["results"][0]["path"]).parent.parent))
    text = re.sub(f"{folder}/", "", text)
    machine = measured["machine"]["before"]
    name = re.sub(r"[^a-z0-9]+", "-", (machine["board"] or machine["processor"]).lower()).strip("-")
    target = options.output or CLONE / "benchmarks" / "results" / "boards" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".writing-{target.name}")
    temporary.write_text(text + "\n")
    temporary.replace(target)
    print(f"\n{target}\nSend it in: commit it on a branch, and open a pull request that says how the board is cooled.")
    return 0


def installed(wheel: Path | None) -> Path | None:
    """Install the package and, if there is a wheel for this machine, onnxruntime; return the path of the program."""
    folder = HERE / ".venv"
    print(f"installing into {folder} ...", flush=True)
    if not (folder / "bin" / "pip").exists():
        try:
            venv.create(folder, with_pip=True)
        except subprocess.CalledProcessError:
            print("report: Python's venv has no pip.\n  remedy: sudo apt install python3-venv", file=sys.stderr)
            return None
    pip = [folder / "bin" / "pip", "install", "--quiet"]
    if subprocess.run([*pip, wheel or CLONE], check=False).returncode:
        print("report: the package could not be installed.\n  remedy: see what pip says above.", file=sys.stderr)
        return None
    # Allowed to fail: if there is no wheel of onnxruntime for this machine, the report says that it is missing.
    subprocess.run([*pip, "onnxruntime>=1.20,<2"], check=False)
    return folder / "bin" / "mnist-edge"


def answer(words: list[object]) -> dict | None:
    """The JSON object that a command prints; None if it failed. Exit code 1, a failed gate, is a result, too."""
    print(f"mnist-edge {' '.join(map(str, words[1:]))} ...", flush=True)
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, check=False)
    try:
        value = json.loads(done.stdout)
    except ValueError:
        value = None
    if done.returncode not in (0, 1) or value is None:
        print(f"report: this command ended with {done.returncode}.\n  remedy: see what it says above.", file=sys.stderr)
        return None
    return value


if __name__ == "__main__":
    sys.exit(main())
