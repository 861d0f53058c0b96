#!/usr/bin/env python3
"""Resolve what `pip install mnist-edge` downloads, for Python 3.11 to 3.14 on arm64, armhf and x86-64.

    python tools/wheels.py [--check]

Each combination installs either with an engine, or without one, in which case commands end with exit code 3 and a
remedy. Writes the table in docs/raspberry-pi.md and, with sizes, benchmarks/results/wheels.md. With --check it writes
nothing, and fails if the page has another table. The package index has no numpy for 32-bit Arm; Raspberry Pi OS adds
its own index (piwheels), which is marked as untested.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

from mnist_edge.bundling.bundle import own_wheel
from mnist_edge.bundling.targets import Target, download
from mnist_edge.errors import MissingError

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "raspberry-pi.md", ROOT / "benchmarks" / "results" / "wheels.md"
BEGIN, END = "<!-- wheels -->\n", "<!-- /wheels -->\n"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Names of the machines, and their architectures as in wheels' file names.
MACHINES = (("arm64", "aarch64"), ("armhf", "armv7l"), ("x86-64", "x86_64"))
# Minor version of glibc 2 by Python: of Debian 12 for 3.11 and 3.12, of Debian 13 for later ones.
GLIBC = {"3.11": 36, "3.12": 36, "3.13": 41, "3.14": 41}
ENGINES = {"tflite_runtime": "tflite-runtime", "ai_edge_litert": "litert"}
NONE = "no engine: exit 3"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    cells: dict[tuple[str, str], str] = {}
    sizes = [
        "| Python | machine | engine | wheels | MB fetched | MB installed | the largest |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        own = own_wheel(None, Path(scratch))
        for python in PYTHONS:
            for name, machine in MACHINES:
                folder = Path(scratch) / f"{python}-{machine}"
                target = Target(python, machine, GLIBC[python])
                cells[python, name] = cell = resolve(target, own, folder)
                wheels = sorted(folder.glob("*.whl"), key=lambda item: -item.stat().st_size)
                print(f"{python} {name}: {cell}, {len(wheels)} wheels", flush=True)
                if wheels:
                    fetched, installed = (sum(map(size, wheels)) / 1e6 for size in (packed, unpacked))
                    largest = ", ".join(f"{item.name.split('-')[0]} {packed(item) / 1e6:.1f}" for item in wheels[:3])
                    sizes.append(
                        f"| {python} | {name} | {cell} | {len(wheels)} | {fetched:.1f} | {installed:.1f} | {largest} |"
                    )
    table = page_table(cells)
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if check:
        if shown.strip() != table.strip():
            print(f"The table in {PAGE.name} differs from what pip resolves:\n{table}", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    RESULTS.write_text(
        "# What `pip install mnist-edge` fetches\n\n`python tools/wheels.py`\n\n" + "\n".join(sizes) + "\n"
    )
    return 0


def resolve(target: Target, own: Path, folder: Path) -> str:
    """Engine of an installation on a target, whose wheels are downloaded into a folder.

    For 32-bit Arm nothing is downloaded but the engines' wheels, as the other packages come from piwheels.
    """
    folder.mkdir()
    if target.machine != "armv7l":
        download(target, [str(own)], folder)
        found = [ENGINES[name] for item in folder.glob("*.whl") if (name := item.name.split("-")[0]) in ENGINES]
        return found[0] if found else NONE
    with tempfile.TemporaryDirectory() as scratch:
        found = [name for package, name in ENGINES.items() if has_wheel(target, package, Path(scratch))]
    return f"{found[0] if found else NONE} (piwheels, untested)"


def has_wheel(target: Target, package: str, folder: Path) -> bool:
    try:
        download(target, ["--no-deps", package], folder)
    except MissingError:
        return False
    return True


def page_table(cells: dict[tuple[str, str], str]) -> str:
    names = [name for name, _ in MACHINES]
    rows = [f"| Python | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    rows += [f"| {python} | {' | '.join(cells[python, name] for name in names)} |" for python in PYTHONS]
    return "\n".join(rows) + "\n"


def packed(wheel: Path) -> int:
    return wheel.stat().st_size


def unpacked(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        return sum(item.file_size for item in archive.infolist())


if __name__ == "__main__":
    sys.exit(main())
