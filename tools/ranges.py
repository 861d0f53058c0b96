#!/usr/bin/env python3
"""Install mnist-edge with the oldest or the newest packages that pyproject.toml allows, and run its tests there.

python tools/ranges.py lowest          # every requirement of ours at its lower bound
python tools/ranges.py highest         # as pip resolves it today
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
# Unit tests, the conversions, the engines, the service: what a package's version can break.
TESTS = ["-m", "not slow", "tests"], ["tests/test_conformance.py", "tests/test_verify.py", "tests/test_serving.py"]
# What a contributor alone installs is tested at its newest.
NOT_OURS = ("dev", "fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("end", choices=["lowest", "highest"])
    parser.add_argument("--python", default=sys.executable, help="the interpreter to test with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, pins = Path(scratch) / "venv", Path(scratch) / "constraints.txt"
        pins.write_text("\n".join(lowest() if options.end == "lowest" else []) + "\n")
        if options.python == sys.executable:
            venv.create(folder, with_pip=True)
        else:
            subprocess.run([options.python, "-m", "venv", folder], check=True)
        python = folder / "bin" / "python"
        print(f"installing: {options.end}", flush=True)
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", pins, "--editable", f"{ROOT}[dev]"]
        if subprocess.run(install, check=False).returncode:
            return 1
        subprocess.run([python, "-m", "pip", "check"], check=False)
        # Old packages beside newer ones of their own warn of each other.
        loud = ["-W", "ignore::DeprecationWarning"] if options.end == "lowest" else []
        pytest = [
            python,
            "-m",
            "pytest",
            "-q",
            *loud,
            "-n",
            "2",
            "--dist",
            "loadscope",
            "--deselect",
            "tests/test_project.py",
        ]
        codes = [subprocess.run([*pytest, *words], cwd=ROOT, check=False).returncode for words in TESTS]
    return max(codes)


def lowest() -> list[str]:
    """A constraint for each of our requirements that applies here: its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name not in NOT_OURS]
    lines = [line for group in (project["dependencies"], *extras) for line in group]
    pins = {}
    for line in lines:
        asked = Requirement(line)
        bounds = [item.version for item in asked.specifier if item.operator == ">="]
        if bounds and (asked.marker is None or asked.marker.evaluate()):
            pins[asked.name] = f"{asked.name}=={bounds[0]}"
    return sorted(pins.values())


if __name__ == "__main__":
    sys.exit(main())
