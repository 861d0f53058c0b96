"""All checks in a row, and what their words must not hold."""

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

WHAT = "looking at this machine"
_PATH = re.compile(r"(?<![\w/])/(?:[^\s/:'\",;()]+/)+([^\s/:'\",;()]*)")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])[0-9a-f]*(?::[0-9a-f]*){2,}", re.IGNORECASE)


def examine(progress: Progress = no_progress) -> list[Finding]:
    """Everything that was looked at, failures and all. Nothing is changed, and only MNIST's mirrors are asked."""
    checks: list[Callable[[], Finding]] = [*system.CHECKS, *engines.checks(), *places.CHECKS]
    found = []
    for at, check in enumerate(checks):
        progress(WHAT, at, len(checks))
        found.append(_without_names(check()))
    progress(WHAT, len(checks), len(checks))
    return found


def versions() -> dict[str, str]:
    """The installed packages that mnist-edge, with any extra, asks for."""
    names = sorted({re.split(r"[^\w.-]", line)[0] for line in requires("mnist-edge") or []} | {"mnist-edge"})
    present = {}
    for name in names:
        try:
            present[name] = version(name)
        except PackageNotFoundError:
            continue
    return present


def _without_names(finding: Finding) -> Finding:
    return replace(finding, found=scrub(finding.found), remedy=finding.remedy and scrub(finding.remedy))


def scrub(text: str) -> str:
    """A text without whose machine it is: folders, addresses, the user's and the machine's name."""
    text = _ADDRESS.sub("<address>", _PATH.sub(r"<path>/\1", text))
    for name in _names():
        text = re.sub(rf"\b{re.escape(name)}\b", "<name>", text)
    return text


def _names() -> set[str]:
    names = {socket.gethostname(), Path.home().name}
    with contextlib.suppress(KeyError, OSError):
        names.add(getpass.getuser())
    # What everybody's machine is called gives nobody away, and is a word in other places.
    return {name for name in names if len(name) > 2} - {"root", "pi", "localhost", "raspberrypi", "home", "user"}
