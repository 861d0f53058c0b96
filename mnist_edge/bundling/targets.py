"""Other machines than this one, and the wheels that pip would install there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.errors import MissingError

_ARM, _X86 = "aarch64", "x86_64"


@dataclass(frozen=True)
class Target:
    """A kind of machine: its Python (as 3.11), the processor as ``uname -m`` has it, and its glibc's minor version."""

    python: str
    machine: str
    glibc: int

    @property
    def tags(self) -> list[str]:
        """The platform tags of the wheels that it takes, the best first (PEP 600)."""
        newest = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 16, -1)]
        return [*newest, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """Its environment markers (PEP 508), as far as they differ from another CPython's on Linux."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
        }


# Raspberry Pi OS has the names, Pythons and C libraries of the Debian releases that it is made of.
TARGETS = {
    "bookworm-arm64": Target("3.11", _ARM, 36),
    "trixie-arm64": Target("3.13", _ARM, 41),
    "bookworm-amd64": Target("3.11", _X86, 36),
    "trixie-amd64": Target("3.13", _X86, 41),
}


def download(target: Target, requirements: Sequence[str], folder: Path) -> None:
    """Fetch the wheels of some requirements, and of all that they require there, into a folder.

    Args:
        target: the machine that they are for.
        requirements: as pip takes them; a path to a wheel among them.
        folder: where to.

    Raises:
        MissingError: pip, the network, or a wheel for that machine is missing.
    """
    arguments = ["--python-version", target.python, "--implementation", "cp", "--only-binary=:all:"]
    for tag in target.tags:
        arguments += ["--platform", tag]
    words = ["download", "--quiet", "--disable-pip-version-check", "--dest", str(folder), *arguments, *requirements]
    asked = json.dumps({"markers": target.markers, "arguments": words})
    command = [sys.executable, "-m", "mnist_edge.bundling.pip_elsewhere", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        why = said[-1].removeprefix("ERROR: ") if said else f"pip ended with {done.returncode}"
        raise MissingError(
            f"No wheels for Python {target.python} on {target.machine}: {why}",
            "Check the network, and that this environment has pip: python -m ensurepip",
        )
