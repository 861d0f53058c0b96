"""``mnist-edge export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table
from mnist_edge.cli.verdict import gate_error, verdict_lines, verdict_table
from mnist_edge.pipeline import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "export"
# The word people know for it, and what it makes.
QUANTIZATIONS = {"int8": "int8", "float16": "float16", "none": "float32"}


def command(
    format_: Annotated[str, typer.Option("--format", help="tflite, onnx, or all.")] = "all",
    model: Annotated[str, typer.Option("--model", help="cnn, dense, or a .keras file.")] = DEFAULT_MODEL,
    quantize: Annotated[str, typer.Option("--quantize", help="int8, float16 or none.")] = "int8",
    calibration_images: Annotated[int, typer.Option("--calibration-images", min=1)] = 512,
    calibration_seed: Annotated[int, typer.Option("--calibration-seed", min=0)] = 0,
    max_drop_pp: options.MaxDrop = 0.2,
    min_agreement: options.MinAgreement = 0.995,
    max_class_drop_pp: options.MaxClassDrop = 1.0,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Make int8 files of a model, with their float twins, and prove them on the test images; trains first if need be.

    Example: mnist-edge export --format tflite
    """
    from mnist_edge import conversion, pipeline
    from mnist_edge.data import load
    from mnist_edge.errors import suggest
    from mnist_edge.parity import Gate

    output = Output(NAME, as_json, debug)
    if quantize not in QUANTIZATIONS:
        raise suggest(quantize, list(QUANTIZATIONS), "quantization")
    with output.progress() as progress:
        artifacts, trained = pipeline.export(
            workspace,
            model,
            list(conversion.formats()) if format_ == "all" else [format_],
            load(
                data,
                calibration_images=calibration_images,
                calibration_seed=calibration_seed,
                progress=progress,
            ),
            quantization=QUANTIZATIONS[quantize],
            gate=Gate(max_drop_pp, min_agreement, max_class_drop_pp),
            engine=engine,
            threads=threads,
            progress=progress,
        )
    if trained is not None:
        output.note(f"There was no trained {model}: trained it ({trained.recipe}, {trained.test_accuracy:.2%}).")
    files = table("", "file", ">bytes", "made", "sha256")
    for item in artifacts:
        made = "now" if item.fresh else "before"
        files.add_row(item.path, f"{item.size_bytes:,}", made, item.sha256[:12])
    reports = [report for item in artifacts for report in item.parity]
    code = output.result(
        {"artifacts": artifacts}, files, verdict_table(reports), *verdict_lines(reports), error=gate_error(reports)
    )
    best = next((item.path for item in artifacts if item.quantization != "float32"), artifacts[0].path)
    output.next(
        f"mnist-edge predict --model {best} digit.png",
        f"mnist-edge verify {Path(best).parent}",
        f"mnist-edge info {best}",
    )
    return code
