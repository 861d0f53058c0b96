"""``mnist-edge verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, chosen_files
from mnist_edge.cli.verdict import (
    baseline_table,
    gate_error,
    kernel_table,
    layer_tables,
    selftest_error,
    selftest_table,
    verdict_lines,
    verdict_table,
)
from mnist_edge.store.workspace import DEFAULT_WORKSPACE

NAME = "verify"


def command(
    models: options.Models = None,
    model: options.OnlyModel = None,
    reference: Annotated[Path | None, typer.Option("--reference", help="The float answers (reference.npz).")] = None,
    max_drop_pp: options.MaxDrop = 0.2,
    min_agreement: options.MinAgreement = None,
    max_class_drop_pp: options.MaxClassDrop = 1.0,
    max_brier_increase: options.MaxBrierIncrease = 0.002,
    max_probability_distance: options.MaxProbabilityDistance = 0.0125,
    shipped_: options.Shipped = False,
    selftest: Annotated[
        bool, typer.Option("--selftest", help="A second, no data: the same answers as where it was made?")
    ] = False,
    layers: Annotated[bool, typer.Option("--layers", help="The error of every op against the float export.")] = False,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="An earlier verify --json: fail on worse.")
    ] = None,
    max_regression_pp: Annotated[float, typer.Option("--max-regression-pp", help="Accuracy lost since then.")] = 0.1,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the verdict as Markdown.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write it as JUnit XML.")] = None,
    benchmark: Annotated[Path | None, typer.Option("--benchmark-json", help="For github-action-benchmark.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write it as one HTML page.")] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="Only files that the holder of this key has signed.")
    ] = None,
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
    from mnist_edge.errors import UsageError
    from mnist_edge.parity import Gate
    from mnist_edge.parity.verdict import Baseline
    from mnist_edge.store import signing
    from mnist_edge.workflows import verify

    output = Output(NAME, as_json, debug)
    targets = verify.ReportFiles(markdown, junit, benchmark, report)
    with verify.reporting_errors(targets):
        if selftest and (targets.named() or baseline is not None):
            raise UsageError(
                "--selftest writes no report and knows no baseline.", "Leave out --selftest, or the others."
            )
        gate = Gate(max_drop_pp, min_agreement, max_class_drop_pp, max_brier_increase, max_probability_distance)
        before = Baseline.load(baseline, max_regression_pp) if baseline is not None else None
        files, left_out = chosen_files(output, models or [], workspace, model, engine, shipped_, gate=True)
        if public_key is not None:
            signing.check_files(files, public_key, trust)
        if selftest:
            tests = verify.selftest(files, engine, threads, trust)
            return output.result({"selftests": tests}, selftest_table(tests), error=selftest_error(tests))
        with output.progress() as progress:
            test, hashes = load_test(data, progress)
            verdicts = verify.verify_all(
                files, test, hashes["test_images"], gate=gate, engine=engine, threads=threads, reference=reference,
                trust=trust, layers=layers, baseline=before, notes=left_out, progress=progress,
            )  # fmt: skip
        verify.write_reports(verdicts, targets, test.images, files)
    payload = {
        "results": verdicts.reports, "kernels": verdicts.kernels,
        "layers": [{"path": path, "ops": errors} for path, errors in verdicts.layers],
        "notes": verdicts.notes, **verdicts.to_json(),
    }  # fmt: skip
    shown = (verdict_table(verdicts.checks), *verdict_lines(verdicts.checks), *baseline_table(verdicts))
    tables = (*kernel_table(verdicts.kernels), *layer_tables(verdicts.layers))
    error = gate_error(verdicts.checks, data, options.of_verify(reference, engine, trust))
    return output.result(payload, *shown, *tables, error=error)
