"""``mnist-edge verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, shipped
from mnist_edge.cli.verdict import (
    gate_error,
    kernel_table,
    layer_tables,
    selftest_error,
    selftest_table,
    verdict_lines,
    verdict_table,
)
from mnist_edge.workspace import DEFAULT_WORKSPACE, named_files

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
    max_brier_increase: options.MaxBrierIncrease = 0.002,
    max_probability_distance: options.MaxProbabilityDistance = 0.0125,
    shipped_: options.Shipped = False,
    selftest: Annotated[bool, typer.Option("--selftest", help="A second, no data: does it say what it said?")] = False,
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
    from mnist_edge import signing, verification
    from mnist_edge.data import load_test
    from mnist_edge.errors import GateError
    from mnist_edge.parity import Gate
    from mnist_edge.parity.baseline import regressions

    output = Output(NAME, as_json, debug)
    files = shipped(output, model) if shipped_ else named_files(paths or [], workspace, model)
    if public_key is not None:
        signing.check_files(files, public_key, trust)
    if selftest:
        tests = verification.selftest(files, engine, threads, trust)
        return output.result({"selftests": tests}, selftest_table(tests), error=selftest_error(tests))
    with output.progress() as progress:
        test, hashes = load_test(data, progress)
        gate = Gate(max_drop_pp, min_agreement, max_class_drop_pp, max_brier_increase, max_probability_distance)
        verdicts = verification.verify_all(
            files, test, hashes["test_images"], gate=gate, engine=engine, threads=threads, reference=reference,
            trust=trust, layers=layers, progress=progress,
        )  # fmt: skip
    verification.write_reports(
        verdicts, test.images, files, as_markdown=markdown, as_junit=junit, as_benchmark=benchmark, as_page=report
    )
    error = gate_error(verdicts.reports)
    worse = regressions(verdicts.reports, baseline, max_regression_pp) if baseline else []
    if error is None and worse:
        error = GateError(worse[0], "Find out what changed since the baseline, or store a new one.")
    layer_payload = [{"path": path, "ops": errors} for path, errors in verdicts.layers]
    payload = {"results": verdicts.reports, "kernels": verdicts.kernels, "layers": layer_payload, "regressions": worse}
    shown = (verdict_table(verdicts.reports), *verdict_lines(verdicts.reports), *worse)
    return output.result(payload, *shown, *kernel_table(verdicts.kernels), *layer_tables(verdicts.layers), error=error)
