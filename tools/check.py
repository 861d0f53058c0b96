#!/usr/bin/env python3
"""Run lint, formatting, types, import contracts and the strict build of the documentation.

    python tools/check.py [CHECK...]

Without names all checks run, also after one has failed. Exit code 1 if any has failed, 2 for an unknown name. The
programs are those next to the Python that runs this script (``tools/bootstrap.py dev`` installs them).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS = {
    "lint": "ruff check .",
    "format": "ruff format --check .",
    "types": "mypy",
    "contracts": "lint-imports",
    "docs": "mkdocs build --strict --quiet --site-dir {scratch}/site",
}


def run(name: str) -> subprocess.CompletedProcess[str]:
    """Run one check on this checkout.

    Args:
        name: a key of `CHECKS`.

    Returns:
        The finished process; its stdout holds stderr too.

    Raises:
        FileNotFoundError: the check's program is not installed next to this Python.
    """
    with tempfile.TemporaryDirectory() as scratch:
        program, *arguments = CHECKS[name].format(scratch=scratch).split()
        # Material's notice about MkDocs 2, which is excluded by the range in pyproject.toml.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "true"}
        return subprocess.run(
            [BIN / program, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def main(names: list[str]) -> int:
    """Run the named checks, print the output of those that fail, and return the exit code."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"check: there is no check {unknown[0]!r}.\n  remedy: name one of {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    code = 0
    for name in names or CHECKS:
        print(f"{name}: {CHECKS[name].split(' --site-dir')[0]} ... ", end="", flush=True)
        try:
            done = run(name)
        except FileNotFoundError:
            print("not installed\n  remedy: python3 tools/bootstrap.py dev", flush=True)
            code = 1
            continue
        print("ok" if done.returncode == 0 else f"failed\n{done.stdout}", flush=True)
        code = code or int(done.returncode != 0)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
