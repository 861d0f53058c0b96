"""Running all checks, and removing personal data from their texts."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.doctor import engines, places, system
from mnist_edge.results import Finding

# Name of the work in the progress display.
WHAT = "looking at this machine"
_PATH = re.compile(r"(?<![\w/])/(?:[^\s/:'\",;()]+/)+([^\s/:'\",;()]*)")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])[0-9a-f]*(?::[0-9a-f]*){2,}", re.IGNORECASE)


def examine(progress: Progress = no_progress) -> list[Finding]:
    """Run all checks and return their findings, without personal data.

    The checks change nothing on this machine and use the network only to reach MNIST's mirrors.
    """
    checks: list[Callable[[], Finding]] = [*system.CHECKS, *engines.checks(), *places.CHECKS]
    found = []
    for at, check in enumerate(checks):
        progress(WHAT, at, len(checks))
        found.append(_anonymous(check()))
    progress(WHAT, len(checks), len(checks))
    return found


def versions() -> dict[str, str]:
    """Versions of mnist-edge and of the installed packages that it requires, with any extra."""
    names = sorted({re.split(r"[^\w.-]", line)[0] for line in requires("mnist-edge") or []} | {"mnist-edge"})
    installed = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def _anonymous(finding: Finding) -> Finding:
    return replace(finding, found=scrub(finding.found), remedy=finding.remedy and scrub(finding.remedy))


def scrub(text: str) -> str:
    """Replace what identifies a user or machine in a text: folders, network addresses, user and host names."""
    text = _ADDRESS.sub("<address>", _PATH.sub(r"<path>/\1", text))
    for name in _names():
        text = re.sub(rf"\b{re.escape(name)}\b", "<name>", text)
    return text


def _names() -> set[str]:
    names = {socket.gethostname(), Path.home().name}
    with contextlib.suppress(KeyError, OSError):
        names.add(getpass.getuser())
    # Common names identify nobody, and are words in other texts.
    return {name for name in names if len(name) > 2} - {"root", "pi", "localhost", "raspberrypi", "home", "user"}
