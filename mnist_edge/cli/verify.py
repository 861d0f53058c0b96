"""``mnist-edge verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.cli.verdict import (
    baseline_table,
    board_lines,
    kernel_table,
    layer_tables,
    selftest_table,
    verdict_lines,
    verdict_table,
)
from mnist_edge.store.workspace import DEFAULT_WORKSPACE

NAME = "verify"


def command(
    models: options.Models = None,
    model: options.OnlyModel = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The float model, or its answers (reference.npz).")
    ] = None,
    max_drop_pp: options.MaxDrop = 0.2,
    min_agreement: options.MinAgreement = None,
    max_class_drop_pp: options.MaxClassDrop = 1.0,
    max_brier_increase: options.MaxBrierIncrease = 0.002,
    max_probability_distance: options.MaxProbabilityDistance = 0.0125,
    shipped_: options.Shipped = False,
    selftest: Annotated[
        bool, typer.Option("--selftest", help="Quick check against stored answers; needs no data set.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Show the error of every op against the float export.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="Output of an earlier verify --json; worse results fail.")
    ] = None,
    max_regression_pp: Annotated[
        float, typer.Option("--max-regression-pp", help="Accuracy that may be lost since the baseline.")
    ] = 0.1,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the verdict as Markdown.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the verdict as JUnit XML.")] = None,
    benchmark: Annotated[
        Path | None, typer.Option("--benchmark-json", help="Write figures for github-action-benchmark.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the verdict as an HTML page.")] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="Accept only files that the holder of this key has signed.")
    ] = None,
    board: Annotated[
        str | None,
        typer.Option("--board", help="Run one .c file on a board: serial:/dev/ttyACM0, qemu:cortex-m4."),
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Test images that the board answers. Default: all.")
    ] = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    data: options.Data = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Compare quantized files with the float model.

    Every installed engine answers the test images. The exit code is 1 if a gate fails, so that CI can run it.

    Example: mnist-edge verify artifacts/cnn --max-drop-pp 0.2

    On a board: mnist-edge verify artifacts/cnn/cnn-int8.c --board qemu:cortex-m4 --images 1000
    """
    from mnist_edge.workflows import verify

    output = Output(NAME, as_json, debug)
    reports = verify.ReportFiles(markdown, junit, benchmark, report)
    with verify.reporting_errors(reports):
        gate = verify.Gate(max_drop_pp, min_agreement, max_class_drop_pp, max_brier_increase, max_probability_distance)
    chosen = verify.VerifyOptions(
        models=tuple(models or ()), model=model, shipped=shipped_, workspace=workspace, engine=engine, trust=trust,
        gate=gate, reference=reference, threads=threads, data=data, selftest=selftest, layers=layers,
        baseline=baseline, max_regression_pp=max_regression_pp, reports=reports, public_key=public_key,
        board=verify.board_options(board, images), command_line=output.command_line(),
    )  # fmt: skip
    with output.progress() as progress:
        result = verify.verify(chosen, progress, output.note)
    if selftest:
        return output.result({"selftests": result.selftests}, selftest_table(result.selftests), error=result.error)
    verdicts = result.verdicts
    payload = {
        "results": verdicts.reports, "kernels": verdicts.kernels,
        "layers": [{"path": path, "ops": errors} for path, errors in verdicts.layers],
        "notes": verdicts.notes, **verdicts.to_json(),
    }  # fmt: skip
    shown = (verdict_table(verdicts.checks), *verdict_lines(verdicts.checks), *baseline_table(verdicts))
    shown = (*shown, *board_lines(verdicts.reports))
    tables = (*kernel_table(verdicts.kernels), *layer_tables(verdicts.layers))
    return output.result(payload, *shown, *tables, error=result.error)
