#!/usr/bin/env python3
"""Set up ``.venv`` beside this folder and install mnist-edge into it. Needs Python >= 3.11, nothing else.

    python3 tools/bootstrap.py train|dev

A virtual environment of its own is what a system Python that refuses ``pip install`` asks for. Where that Python has no
``ensurepip`` (Debian without python3-venv), the system's own pip is pointed at the environment; where it has none
either, pip's self-contained zip application is fetched.
"""

import os
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
PIP_ZIP = "https://bootstrap.pypa.io/pip/pip.pyz"


def main() -> int:
    if sys.version_info < (3, 11):
        print(
            f"bootstrap: this is Python {sys.version.split()[0]}.\n  remedy: run it with Python 3.11 or later.",
            file=sys.stderr,
        )
        return 3
    extra = sys.argv[1] if len(sys.argv) == 2 else ""
    if extra not in ("train", "dev"):
        print("bootstrap: say what to install.\n  remedy: python3 tools/bootstrap.py train|dev", file=sys.stderr)
        return 2
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=False)
    with tempfile.TemporaryDirectory() as folder:
        pip = _pip(Path(folder))
        if pip is None:
            print(
                "bootstrap: no pip could be had.\n  remedy: install your system's python3-venv package.",
                file=sys.stderr,
            )
            return 3
        command = [*pip, "install", "--quiet", "--editable", f"{ROOT}[{extra}]"]
        print(f"bootstrap: installing mnist-edge[{extra}] into .venv ...", flush=True)
        # A user's PIP_USER or PIP_TARGET would install elsewhere.
        clean = {key: value for key, value in os.environ.items() if key not in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX")}
        return subprocess.run(command, env=clean, check=False).returncode


def _pip(folder: Path) -> list[str] | None:
    """How to call a pip that installs into the environment."""
    inside = [str(PYTHON), "-m", "pip"]
    if _works([*inside, "--version"]) or _works([str(PYTHON), "-m", "ensurepip", "--default-pip"]):
        return inside
    outside = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    if _works([*outside, "--version"]):
        return outside
    try:
        with urllib.request.urlopen(PIP_ZIP, timeout=30) as answer:
            (folder / "pip.pyz").write_bytes(answer.read())
    except OSError:
        return None
    return [str(PYTHON), str(folder / "pip.pyz")]


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
