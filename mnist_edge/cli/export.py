"""``mnist-edge export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, error_facts, line, opening, table
from mnist_edge.cli.verdict import footprint_table, gate_error, study_table, verdict_lines, verdict_table
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

NAME = "export"
# The word people know for it, and what it makes.
QUANTIZATIONS = {"int8": "int8", "float16": "float16", "none": "float32"}


def command(
    format_: Annotated[str, typer.Option("--format", help="tflite, onnx, all (of these), or c.")] = "all",
    model: Annotated[
        str, typer.Option("--model", help=f"The Keras model: {options.MODEL_WORDS}. A folder is exported in place.")
    ] = DEFAULT_MODEL,
    quantize: Annotated[str, typer.Option("--quantize", help="int8, float16 or none.")] = "int8",
    calibration_images: Annotated[int, typer.Option("--calibration-images", min=1)] = 512,
    calibration_seed: Annotated[int, typer.Option("--calibration-seed", min=0)] = 0,
    study: Annotated[
        bool, typer.Option("--calibration-study", help="Show the verdict over numbers and draws of calibration images.")
    ] = False,
    max_drop_pp: options.MaxDrop = 0.2,
    min_agreement: options.MinAgreement = None,
    max_class_drop_pp: options.MaxClassDrop = 1.0,
    max_brier_increase: options.MaxBrierIncrease = 0.002,
    max_probability_distance: options.MaxProbabilityDistance = 0.0125,
    max_flash: Annotated[int | None, typer.Option("--max-flash", help="Bytes that C may take in flash.")] = None,
    max_ram: Annotated[int | None, typer.Option("--max-ram", help="Bytes of RAM that C may take.")] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="Kernels in generated C: c99 (plain C alone), arm, x86 or all.")
    ] = "all",
    build: Annotated[bool, typer.Option("--build", help="With --format c: a shared object too.")] = False,
    sign: Annotated[
        Path | None, typer.Option("--sign", help="A private key (PEM, elliptic curve): sign the folder's manifest.")
    ] = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    engine: options.Engine = "auto",
    threads: options.Threads = 1,
    data: options.Data = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Make int8 files of a model, with their float exports, and prove them on the test images; trains first if need be.

    Example: mnist-edge export --format tflite
    """
    from mnist_edge import conversion, models
    from mnist_edge.data import Splits, load
    from mnist_edge.errors import UsageError, suggest
    from mnist_edge.parity import Gate
    from mnist_edge.parity.verdict import judge
    from mnist_edge.reports.verdict_cells import VIEWERS
    from mnist_edge.runtime.selection import exported_in_place, keras_model
    from mnist_edge.store import signing
    from mnist_edge.store.streams import native_output
    from mnist_edge.toolchains import footprint
    from mnist_edge.workflows import calibration_study, export, verify

    output = Output(NAME, as_json, debug)
    if build and format_ != "c":
        raise UsageError("--build compiles generated C.", "Name it: --format c --build")
    if backend != "all" and format_ != "c":
        raise UsageError("--backend chooses kernels of generated C.", f"Name it: --format c --backend {backend}")
    if backend not in conversion.BACKENDS:
        raise suggest(backend, list(conversion.BACKENDS), "backend")
    if quantize not in QUANTIZATIONS:
        raise suggest(quantize, list(QUANTIZATIONS), "quantization")

    gate = Gate(max_drop_pp, min_agreement, max_class_drop_pp, max_brier_increase, max_probability_distance)
    workspace, model = exported_in_place(keras_model(model, workspace, models.names()), workspace)

    def splits_of(images: int, seed: int) -> Splits:
        return load(data, calibration_images=images, calibration_seed=seed, progress=progress)

    with output.progress() as progress:
        if study:
            made_of = "tflite" if format_ == "all" else format_
            rows = calibration_study.calibration_study(workspace, model, made_of, splits_of, progress)
            payload = [{"images": images, "seed": seed, "result": report} for images, seed, report in rows]
            return output.result({"study": payload}, study_table(rows))
        splits = splits_of(calibration_images, calibration_seed)
        failures: list[export.FormatFailure] = []
        artifacts, trained = export.export(
            workspace,
            model,
            list(conversion.formats(every=False)) if format_ == "all" else [format_, "so"] if build else [format_],
            splits,
            quantization=QUANTIZATIONS[quantize],
            backend=backend,
            gate=gate,
            engine=engine,
            threads=threads,
            progress=progress,
            failures=failures,
        )
    if trained is not None:
        output.note(f"There was no trained {model}: trained it ({trained.recipe}, {trained.test_accuracy:.2%}).")
    files = _file_lines(artifacts, failures)
    failed = [{"path": item.path, "format": item.format, **error_facts(item.error)} for item in failures]
    worst = max((item.error for item in failures), key=lambda error: error.exit_code, default=None)
    if not artifacts:
        return output.result({"artifacts": [], "failures": failed}, *(files if failures[1:] else []), error=worst)
    checks = judge([report for item in artifacts for report in item.parity])
    with native_output(Path(artifacts[0].path).parent / conversion.LOG_NAME):
        page = verify.write_page(artifacts, splits.test.images)
    signature = signing.sign(page.parent, sign) if sign else None
    sizes = footprint.footprints(artifacts)
    error = worst or gate_error(checks, data) or footprint.over_budget(sizes, max_flash, max_ram)
    facts = {
        "artifacts": artifacts, "failures": failed, "footprints": sizes,
        "signature": str(signature) if signature else None,
    }  # fmt: skip
    outcome = verify.recorded_in(page.parent).outcome
    shown = [
        *([footprint_table(sizes)] if sizes else []),
        f"Report on all files in {page.parent}, {outcome}: {page}",
        f"{VIEWERS}.",
    ]
    code = output.result(facts, *files, "", verdict_table(checks), *verdict_lines(checks), *shown, error=error)
    asked = [item for item in artifacts if item.quantization == QUANTIZATIONS[quantize]]
    output.next(*_offers([check.path for check in checks if not check.passed], asked), *opening(page))
    return code


def _file_lines(artifacts: Sequence[Any], failures: Sequence[Any]) -> list[Any]:
    """A table of the files that were made and of those that could not be, and the causes if there are several."""
    files = table("", "file", ">bytes", "made", "sha256")
    for item in artifacts:
        made = "now" if item.fresh else "before"
        files.add_row(item.path, f"{item.size_bytes:,}", made, item.sha256[:12])
    for item in failures:
        files.add_row(item.path, "", "FAILED", "")
    return [files, *(f"{Path(item.path).name}: {item.error.cause}" for item in failures if failures[1:])]


def _offers(failed: Sequence[str], asked: Sequence[Any]) -> list[str]:
    """Commands to go on with: with the first file of the precision asked for that passed and that an engine runs."""
    from mnist_edge.runtime import engine_names

    path = next((item.path for item in asked if item.path not in failed and engine_names(Path(item.path).suffix)), None)
    if path is None:
        return []
    predict = line("predict", "--model", path, "PICTURE.png")
    return [f"{predict}    # PICTURE.png: one of yours", line("bench", path), line("info", path)]
