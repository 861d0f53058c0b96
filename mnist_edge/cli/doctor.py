"""``mnist-edge doctor``."""

from __future__ import annotations

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table
from mnist_edge.errors import GateError, MissingError, MnistEdgeError, StageError

NAME = "doctor"
_COLOURS = {"ok": "green", "absent": "dim", "warning": "yellow", "failed": "red"}
_KINDS: dict[int, type[MnistEdgeError]] = {1: GateError, 3: MissingError}


def command(as_json: options.AsJson = False, debug: options.Debug = False) -> int:
    """What is wrong with this machine, and what helps. Its output holds no names, folders or addresses.

    Example: mnist-edge doctor --json
    """
    from rich.text import Text

    from mnist_edge import doctor
    from mnist_edge.measure.machine import machine

    output = Output(NAME, as_json, debug)
    with output.progress() as progress:
        findings = doctor.examine(progress)
    here, packages = machine(), doctor.versions()
    shown = table("", "", "check", "found")
    for item in findings:
        shown.add_row(Text(item.status, _COLOURS[item.status]), item.check, item.found)
    wrong = [item for item in findings if item.status in ("warning", "failed")]
    lines = [""] * bool(wrong) + [f"{item.check}: {item.remedy}" for item in wrong if item.remedy]
    first = next((item for item in findings if item.status == "failed"), None)
    error = None
    if first is not None:
        cause = f"{first.check}: {first.found.removesuffix('.')}."
        error = _KINDS.get(first.code, StageError)(cause, first.remedy or "See above.")
    return output.result(
        {"checks": findings, "machine": here, "packages": packages},
        f"{here.board or here.processor}, {here.cores} cores, {here.system}, kernel {here.kernel}",
        ", ".join(f"{name} {found}" for name, found in packages.items()),
        "",
        shown,
        *lines,
        error=error,
    )
