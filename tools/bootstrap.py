#!/usr/bin/env python3
"""Make the virtual environment ``.venv`` in the repository and install mnist-edge into it. Needs only Python >= 3.11.

    python3 tools/bootstrap.py train|dev

A virtual environment also works with a system Python that refuses ``pip install`` (PEP 668). If that Python has no
``ensurepip`` (Debian without python3-venv), the system's pip installs into the environment; if there is no pip either,
pip's self-contained zip application is downloaded.
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
        print("bootstrap: name an extra.\n  remedy: python3 tools/bootstrap.py train|dev", file=sys.stderr)
        return 2
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=False)
    with tempfile.TemporaryDirectory() as folder:
        pip = _pip(Path(folder))
        if pip is None:
            print(
                "bootstrap: there is no pip.\n  remedy: install your system's python3-venv package.",
                file=sys.stderr,
            )
            return 3
        command = [*pip, "install", "--quiet", "--editable", f"{ROOT}[{extra}]"]
        print(f"bootstrap: installing mnist-edge[{extra}] into .venv ...", flush=True)
        # PIP_USER, PIP_TARGET and PIP_PREFIX would install outside of the environment.
        clean = {key: value for key, value in os.environ.items() if key not in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX")}
        return subprocess.run(command, env=clean, check=False).returncode


def _pip(folder: Path) -> list[str] | None:
    """Command of a pip that installs into the environment; None if there is none. ``folder`` is for a download."""
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
