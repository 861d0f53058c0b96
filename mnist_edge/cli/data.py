"""``mnist-edge data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, line, table
from mnist_edge.results.serialization import to_json

if TYPE_CHECKING:
    from mnist_edge.workflows.data import Sample

NAME = "data"


def command(
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch the files that are not cached.")] = False,
    test_only: Annotated[
        bool, typer.Option("--test-only", help="Fetch the test images and labels only, as on a device.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the cached files.")] = False,
    sample: Annotated[
        Path | None, typer.Option("--sample", help="Write an image of the data set to this .png file, for predict.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="With --sample: a data set, as for train. Default: MNIST."),
    ] = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Show, fetch or clear the cached MNIST files.

    Example: mnist-edge data --sample digit.png
    """
    from mnist_edge.workflows import data as workflow

    output = Output(NAME, as_json, debug)
    chosen = workflow.DataOptions(fetch=fetch, test_only=test_only, clear=clear, sample=sample, data=data)
    with output.progress() as progress:
        result = workflow.data(chosen, progress)
    shown = table("", "file", "cached", ">bytes")
    for item in result.files:
        size = f"{item.size_bytes:,}" if item.size_bytes is not None else ""
        shown.add_row(item.file, "yes, verified" if item.cached else "no", size)
    written = [] if result.sample is None else [f"{result.sample.path}: {_described(result.sample)}"]
    code = output.result(to_json(result), result.folder, shown, *written)
    if result.sample is not None:
        output.next(line("predict", result.sample.path))
    return code


def _described(sample: Sample) -> str:
    if sample.source == "test images":
        return f"a test image of label {sample.label}"
    return f"an image of label {sample.label} from the self-test in the wheel, because MNIST is not in the cache"
