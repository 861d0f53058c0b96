"""``mnist-edge export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, error_facts, line, opening, sample_name, table, with_program
from mnist_edge.cli.verdict import (
    attempt_tables,
    fit_lines,
    footprint_table,
    four_bit_lines,
    study_table,
    verdict_lines,
    verdict_table,
)
from mnist_edge.results.precision import QUANTIZE_VALUES
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE

if TYPE_CHECKING:
    from mnist_edge.workflows.export import ExportResult

NAME = "export"


def command(
    format_: Annotated[
        str, typer.Option("--format", help="tflite, onnx, c, wasm, or all: tflite, onnx and c if this model allows it.")
    ] = "all",
    model: Annotated[
        str, typer.Option("--model", help=f"The model: {options.MODEL_WORDS}. A folder is exported in place.")
    ] = DEFAULT_MODEL,
    quantize: Annotated[
        str, typer.Option("--quantize", help="Precision of the files: int8, float16, none for float32; int4 for C.")
    ] = "int8",
    reference: Annotated[
        Path | None, typer.Option("--reference", help="For a .tflite: its float model, or that model's reference.npz.")
    ] = None,
    calibration_images: Annotated[
        int, typer.Option("--calibration-images", min=1, help="Number of images that set the activations' ranges.")
    ] = 512,
    calibration_seed: Annotated[
        int, typer.Option("--calibration-seed", min=0, help="Seed of the draw of these images.")
    ] = 0,
    study: Annotated[
        bool,
        typer.Option(
            "--calibration-study",
            help="Show the verdict for different numbers and draws of calibration images; export nothing.",
        ),
    ] = False,
    until_pass: Annotated[
        bool,
        typer.Option(
            "--until-pass",
            help="Repair int8 files that fail: other calibration, layers in float, float16. Validation images choose.",
        ),
    ] = False,
    max_drop_pp: options.MaxDrop = 0.2,
    min_agreement: options.MinAgreement = None,
    max_class_drop_pp: options.MaxClassDrop = 1.0,
    max_brier_increase: options.MaxBrierIncrease = 0.002,
    max_probability_distance: options.MaxProbabilityDistance = 0.0125,
    max_flash: Annotated[int | None, typer.Option("--max-flash", help="Bytes of flash that C may take.")] = None,
    max_ram: Annotated[int | None, typer.Option("--max-ram", help="Bytes of RAM that C may take.")] = None,
    board: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="A board whose memory C must fit; estimates its time there: pico, pico2, nano33ble, esp32c3, "
            "nucleo-f446re, nucleo-f767zi.",
        ),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            help="With --format c: write a library for Arduino, PlatformIO and CMake, or add the model to one.",
        ),
    ] = None,
    io: Annotated[
        str | None,
        typer.Option(
            "--io",
            help="With --format tflite: what the int8 file takes and returns: uint8 pixels and int8, or float32 and "
            "float32 for LiteRT.js, in a file of its own. Default: uint8.",
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="Kernels in generated C: c99 (plain C only), arm, x86 or all.")
    ] = "all",
    build: Annotated[bool, typer.Option("--build", help="With --format c: make a shared object too.")] = False,
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
    """Make int8 files of a model, and verify them.

    The float exports are made too. A model that is not trained yet is trained first.

    Example: mnist-edge export --format tflite

    Example: mnist-edge export --format c --for pico --project firmware/lib/digits
    """
    from mnist_edge.errors import suggest
    from mnist_edge.workflows import calibration_study, export

    output = Output(NAME, as_json, debug)
    if quantize not in QUANTIZE_VALUES:
        raise suggest(quantize, list(QUANTIZE_VALUES), "quantization")
    chosen = export.ExportOptions(
        model=model, formats=(format_,), precision=QUANTIZE_VALUES[quantize], reference=reference,
        calibration_images=calibration_images, calibration_seed=calibration_seed,
        max_flash=max_flash, max_ram=max_ram, board=board, project=project, io=io, backend=backend, build=build,
        sign=sign, workspace=workspace, engine=engine, threads=threads, data=data, until_pass=until_pass,
        gate=export.Gate(max_drop_pp, min_agreement, max_class_drop_pp, max_brier_increase, max_probability_distance),
    )  # fmt: skip
    with output.progress() as progress:
        if study:
            rows = calibration_study.calibration_study(chosen, progress)
            return output.result({"study": rows}, study_table(rows))
        result = export.export(chosen, progress)
    for sentence in _notes(result):
        output.note(sentence)
    files, payload = _file_lines(result.artifacts, result.failures), _payload(result)
    if not result.artifacts:
        failed = payload["failures"]
        return output.result({"artifacts": [], "failures": failed}, *(files if failed[1:] else []), error=result.error)
    if result.page is None:
        return output.result(payload, *files, *_without_verdict(result), error=result.error)
    shown = (verdict_table(result.checks), *verdict_lines(result.checks), *_summary(result, result.page))
    code = output.result(payload, *files, "", *attempt_tables(result.attempts), *shown, error=result.error)
    output.next(*_next_commands(result.usable, options.of_data(data)), *opening(result.page))
    return code


def _notes(result: ExportResult) -> list[str]:
    """Sentences on what was trained, on the files that failed, and on C that was left out."""
    sentences: list[str] = []
    if (trained := result.trained) is not None:
        accuracy = f"{trained.test_accuracy:.2%}"
        sentences.append(f"There was no trained {trained.model}: trained it ({trained.recipe}, {accuracy}).")
    for advice in result.advice:
        sentences += advice.sentences
        sentences += [] if advice.command is None else [f"To try repairs: {with_program(advice.command)}"]
    for item in result.left_out:
        sentences.append(f"Without {Path(item.path).name}: {item.error.cause} {with_program(item.error.remedy)}")
    return sentences


def _payload(result: ExportResult) -> dict[str, Any]:
    """The JSON object, without the error."""
    left_out = [
        {"path": item.path, "format": item.format, "reason": item.error.cause, "remedy": item.error.remedy}
        for item in result.left_out
    ]
    failed = [{"path": item.path, "format": item.format, **error_facts(item.error)} for item in result.failures]
    return {
        "artifacts": result.artifacts, "failures": failed, "footprints": result.footprints,
        "signature": str(result.signature) if result.signature else None, "attempts": result.attempts,
        "advice": result.advice or None, "left_out": left_out, "compared": result.compared,
        "board_fits": result.board_fits, "project": result.project, "web": result.web,
    }  # fmt: skip


def _file_lines(artifacts: Sequence[Any], failures: Sequence[Any]) -> list[Any]:
    """A table of all files, failed ones included; if several failed, also the cause of each."""
    files = table("", "file", ">bytes", "made", "sha256")
    for item in artifacts:
        made = "now" if item.fresh else "before"
        files.add_row(item.path, f"{item.size_bytes:,}", made, item.sha256[:12])
    for item in failures:
        files.add_row(item.path, "", "FAILED", "")
    return [files, *(f"{Path(item.path).name}: {item.error.cause}" for item in failures if failures[1:])]


def _without_verdict(result: ExportResult) -> list[Any]:
    """What is known of C that was made without data."""
    return [
        *_sizes(result),
        f"Its outputs are those of the TFLite file, bit for bit, on {result.compared} random inputs (compared with the "
        "integer reference engine).",
        "No verdict: name labelled data with --data, and its float model with --reference if you have it.",
    ]


def _sizes(result: ExportResult) -> list[Any]:
    """Sizes of C files, what they mean for a board, and the project's folder."""
    sizes = [footprint_table(result.footprints), *four_bit_lines(result.footprints)] if result.footprints else []
    files = f"Project with {len(result.project)} files: {result.project[0]}" if result.project else ""
    web = f"ES module with {len(result.web)} files: {result.web[0]}" if result.web else ""
    pages = [f"Page for a browser: {path}" for path in result.web if path.endswith(".html")]
    return [*sizes, *fit_lines(result.footprints, result.board_fits), *filter(None, (files, web)), *pages]


def _summary(result: ExportResult, page: Path) -> list[Any]:
    from mnist_edge.reports.verdict_cells import VIEWABLE, VIEWERS

    shown = [f"Report on the current files in {page.parent}, {result.outcome}: {page}"]
    viewable = any(Path(item.path).suffix in VIEWABLE for item in result.artifacts)
    return [*_sizes(result), *shown, *([f"{VIEWERS}."] if viewable else [])]


def _next_commands(path: str | None, data: Sequence[str]) -> list[str]:
    """Commands to continue with, for an exported file that can be used; none without such a file.

    Args:
        path: of the file. data: the ``--data`` arguments of the export.
    """
    if path is None:
        return []
    picture = sample_name()
    return [
        line("data", "--sample", picture, *data),
        line("predict", "--model", path, picture),
        line("bench", path),
        line("info", path),
    ]
