#!/usr/bin/env python3
"""Run the tests with the oldest or the newest packages that pyproject.toml allows.

    python tools/ranges.py lowest                        # each requirement in pyproject.toml at its lower bound
    python tools/ranges.py highest --python python3.13   # as pip resolves them today
    .venv/bin/python tools/ranges.py numpy [--short]     # the environment that runs this script, with the newest numpy

On Python 3.11 the extra "dev" has tflite-runtime, which limits numpy to version 1; a device install with another engine
has numpy 2. "numpy" tests that combination: it copies the environment without tflite-runtime and numpy, by links, and
installs the newest numpy. With --short it runs only the tests that use no TensorFlow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
UNIT_TESTS = ["-m", "not slow", "tests"]
# Unit tests, and those of conversions, engines and service, which depend most on the versions of packages.
TESTS = (
    UNIT_TESTS,
    ["tests/project/test_conformance.py", "tests/workflows/test_verify.py", "tests/serving/test_serving.py"],
)
# Tests of what a device runs, and of arithmetic that numpy 2's promotion rules can change (NEP 50).
SHORT = [
    "cli/test_app", "runtime", "vision", "int8", "conversion/test_c_ops", "parity/test_statistics", "parity/test_gate",
    "serving/test_requests",
]  # fmt: skip
# Extras for contributors alone; their packages are tested at the newest versions.
CONTRIBUTORS_ONLY = ("dev", "fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("end", choices=["lowest", "highest", "numpy"])
    parser.add_argument("--python", default=sys.executable, help="the interpreter to test with")
    parser.add_argument("--short", action="store_true", help="with numpy: only tests that use no TensorFlow")
    options = parser.parse_args()
    if options.short and options.end != "numpy":
        parser.error("--short goes with numpy alone")
    with tempfile.TemporaryDirectory() as scratch:
        folder, pins = Path(scratch) / "venv", Path(scratch) / "constraints.txt"
        python = folder / "bin" / "python"
        print(f"installing: {options.end}", flush=True)
        if options.end == "numpy":
            venv.create(folder)
            link_packages(Path(sysconfig.get_path("purelib")), next(folder.glob("lib/python*/site-packages")))
            pip, words = [sys.executable, "-m", "pip", "--python", python], ["--no-deps", "numpy>=2,<3"]
        else:
            pins.write_text("\n".join(lowest() if options.end == "lowest" else []) + "\n")
            subprocess.run([options.python, "-m", "venv", folder], check=True)
            pip, words = [python, "-m", "pip"], ["--constraint", pins, "--editable", f"{ROOT}[dev]"]
        if subprocess.run([*pip, "install", "--quiet", *words], check=False).returncode:
            return 1
        versions = "import numpy, sys; print('Python', sys.version, 'numpy', numpy.__version__, flush=True)"
        subprocess.run([python, "-c", versions], check=True)
        # Old packages give deprecation warnings if their dependencies are newer.
        filters = ["-W", "ignore::DeprecationWarning"] if options.end == "lowest" else []
        pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *filters, "-n", "2", "--dist", "loadscope"]
        pytest += ["--deselect", "tests/project/test_project.py"]
        runs = (UNIT_TESTS,) if options.end == "numpy" else TESTS
        if options.short:
            runs = ([*UNIT_TESTS[:2], *(f"tests/{name}.py" if "/" in name else f"tests/{name}" for name in SHORT)],)
        codes = [subprocess.run([*pytest, *words], cwd=ROOT, check=False).returncode for words in runs]
    return int(any(codes))


def link_packages(source: Path, target: Path) -> None:
    """Link an environment's packages into another one, except numpy and tflite-runtime, which needs numpy 1."""
    for item in source.iterdir():
        if not item.name.startswith(("numpy", "tflite_runtime")):
            (target / item.name).symlink_to(item)


def lowest() -> list[str]:
    """Constraints that pin each requirement in pyproject.toml that applies here to its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name not in CONTRIBUTORS_ONLY]
    lines = [line for group in (project["dependencies"], *extras) for line in group]
    pins = {}
    for line in lines:
        requirement = Requirement(line)
        bounds = [item.version for item in requirement.specifier if item.operator == ">="]
        if bounds and (requirement.marker is None or requirement.marker.evaluate()):
            pins[requirement.name] = f"{requirement.name}=={bounds[0]}"
    return sorted(pins.values())


if __name__ == "__main__":
    sys.exit(main())
