"""``mnist-edge verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.cli.verdict import gate_error, verdict_lines, verdict_table
from mnist_edge.pipeline import DEFAULT_WORKSPACE, artifact_paths

NAME = "verify"


def command(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files, or folders of the workspace. Else all of it.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model's files.")] = None,
    reference: Annotated[Path | None, typer.Option("--reference", help="The float answers (reference.npz).")] = None,
    max_drop_pp: options.MaxDrop = 0.2,
    min_agreement: options.MinAgreement = 0.995,
    max_class_drop_pp: options.MaxClassDrop = 1.0,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    data: options.Data = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Quantized against float on the test images, on every engine installed; exit 1 where a gate fails.

    Example: mnist-edge verify artifacts/cnn --max-drop-pp 0.2
    """
    from mnist_edge.data import load_test
    from mnist_edge.parity import Gate
    from mnist_edge.parity import verify as judge

    output = Output(NAME, as_json, debug)
    files = [
        file
        for path in paths or []
        for file in ([path] if not path.is_dir() else artifact_paths(path.parent, path.name))
    ]
    gate = Gate(max_drop_pp, min_agreement, max_class_drop_pp)
    files = files or artifact_paths(workspace, model)
    with output.progress() as progress:
        test, hashes = load_test(data, progress)
        reports = [
            report
            for file in files
            for report in judge(
                file, test, hashes["test_images"], gate=gate, engine=engine, threads=threads, reference=reference,
                trust=trust, progress=progress,
            )
        ]  # fmt: skip
    return output.result(
        {"results": reports}, verdict_table(reports), *verdict_lines(reports), error=gate_error(reports)
    )
