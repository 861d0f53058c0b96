"""``doctor``: the checks, the machine and the packages in one result."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.doctor.examine import examine, versions
from mnist_edge.errors import GateError, MissingError, MnistEdgeError, StageError
from mnist_edge.measure.machine import machine
from mnist_edge.results import Finding, Machine

_KINDS: dict[int, type[MnistEdgeError]] = {1: GateError, 3: MissingError}


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        checks: the results of all checks. machine: description of this machine.
        packages: versions of the installed packages that mnist-edge asks for.
        error: that of the first check that failed; None if none did.
    """

    checks: tuple[Finding, ...]
    machine: Machine
    packages: dict[str, str]
    error: MnistEdgeError | None


def diagnose(progress: Progress = no_progress) -> Diagnosis:
    """Run all checks. Nothing is changed."""
    checks = tuple(examine(progress))
    first = next((item for item in checks if item.status == "failed"), None)
    error = None
    if first is not None:
        cause = f"{first.check}: {first.found.removesuffix('.')}."
        error = _KINDS.get(first.code, StageError)(cause, first.remedy or "See above.")
    return Diagnosis(checks, machine(), versions(), error)
