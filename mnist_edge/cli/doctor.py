"""``mnist-edge doctor``."""

from __future__ import annotations

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table

NAME = "doctor"
_COLOURS = {"ok": "green", "absent": "dim", "warning": "yellow", "failed": "red"}


def command(as_json: options.AsJson = False, debug: options.Debug = False) -> int:
    """Check this machine, and suggest remedies.

    The output names no user, folder or address, so that it can be sent to others.

    Example: mnist-edge doctor --json
    """
    from rich.text import Text

    from mnist_edge import doctor

    output = Output(NAME, as_json, debug)
    with output.progress() as progress:
        result = doctor.diagnose(progress)
    shown = table("", "", "check", "found")
    for item in result.checks:
        shown.add_row(Text(item.status, _COLOURS[item.status]), item.check, item.found)
    wrong = [item for item in result.checks if item.status in ("warning", "failed")]
    lines = [""] * bool(wrong) + [f"{item.check}: {item.remedy}" for item in wrong if item.remedy]
    here = result.machine
    return output.result(
        {"checks": result.checks, "machine": here, "packages": result.packages},
        f"{here.board or here.processor}, {here.cores} cores, {here.system}, kernel {here.kernel}",
        ", ".join(f"{name} {found}" for name, found in result.packages.items()),
        "",
        shown,
        *lines,
        error=result.error,
    )
