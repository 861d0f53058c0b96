"""Target machines of a bundle, and downloading the wheels that pip would install there."""

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
    """A kind of Linux machine.

    Attributes:
        python: version of its CPython, such as ``3.11``.
        machine: its processor, as ``uname -m`` prints it.
        glibc: minor version of its C library: 36 for glibc 2.36.
    """

    python: str
    machine: str
    glibc: int

    @property
    def tags(self) -> list[str]:
        """The platform tags of the wheels that it accepts, in order of preference (PEP 600)."""
        newest = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 16, -1)]
        return [*newest, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """Its environment markers (PEP 508), without those that are the same for every CPython."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
        }


# Releases of Raspberry Pi OS have the names, Python versions and C libraries of the Debian releases they are based on.
TARGETS = {
    "bookworm-arm64": Target("3.11", _ARM, 36),
    "trixie-arm64": Target("3.13", _ARM, 41),
    "bookworm-amd64": Target("3.11", _X86, 36),
    "trixie-amd64": Target("3.13", _X86, 41),
}


def download(target: Target, requirements: Sequence[str], folder: Path) -> None:
    """Download the wheels of requirements and of their dependencies for a target.

    Args:
        target: the machine on which the wheels are to be installed.
        requirements: requirements as on pip's command line, paths of wheels included.
        folder: the folder to download to.

    Raises:
        MissingError: pip, the network, or a wheel for the target is missing.
    """
    arguments = ["--python-version", target.python, "--implementation", "cp", "--only-binary=:all:"]
    for tag in target.tags:
        arguments += ["--platform", tag]
    words = ["download", "--quiet", "--disable-pip-version-check", "--dest", str(folder), *arguments, *requirements]
    request = json.dumps({"markers": target.markers, "arguments": words})
    command = [sys.executable, "-m", "mnist_edge.bundling.pip_elsewhere", request]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        why = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {done.returncode}"
        raise MissingError(
            f"No wheels for Python {target.python} on {target.machine}: {why}",
            "Check the network, and that this environment has pip: python -m ensurepip",
        )
