"""``mnist-edge evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, chosen_files, table
from mnist_edge.store.workspace import DEFAULT_WORKSPACE, KERAS_SUFFIX, shown_path

NAME = "evaluate"


def command(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=f"Models: {options.MODELS_WORDS}.")],
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    data: options.Data = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write a page with the confusion matrix and all mistakes here.")
    ] = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Accuracy of any model file on the test images, with its 95 % interval.

    Example: mnist-edge evaluate cnn artifacts/cnn/model.keras
    """
    from mnist_edge import parity
    from mnist_edge.data import load_test
    from mnist_edge.runtime import open_session
    from mnist_edge.store.files import check_target
    from mnist_edge.workflows import export, verify

    output = Output(NAME, as_json, debug)
    if report is not None:
        check_target(report)
    files, _ = chosen_files(output, models, workspace, None, engine, shipped=False)
    with output.progress() as progress:
        test, hashes = load_test(data, progress)
        results = [
            export.evaluate_keras(path, test)
            if path.suffix == KERAS_SUFFIX
            else parity.evaluate(open_session(path, engine, threads, trust), test, progress)
            for path in files
        ]
    if report is not None:
        verify.write_evaluation(report, results, test.images, hashes)
    shown = table("", "file", "engine", ">images", ">correct", ">accuracy", ">95 % interval")
    for item in results:
        low, high = item.accuracy_ci95
        shown.add_row(
            shown_path(Path(item.path)),
            item.engine,
            f"{item.n:,}",
            f"{item.correct:,}",
            f"{item.accuracy:.2%}",
            f"{low:.2%} to {high:.2%}",
        )
    return output.result({"results": results}, shown)
