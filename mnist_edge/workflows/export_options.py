"""Options of ``export``, and the model and the formats that they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mnist_edge import conversion, models
from mnist_edge.data.fetch import Progress
from mnist_edge.errors import UsageError, suggest
from mnist_edge.formats import foreign
from mnist_edge.parity import Gate
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.selection import exported_in_place, source_model
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, SOURCE_SUFFIXES, folder_of
from mnist_edge.toolchains import known_boards
from mnist_edge.training import saved_model
from mnist_edge.workflows.data_source import DataSource


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What ``export`` makes, and what it must pass.

    Attributes:
        model: a built-in name, or a model's folder, name or file: of Keras, a float ``.onnx``, an int8 ``.tflite``, or
            a SavedModel folder. A model's folder is exported in place.
        formats: names of formats; ``all`` stands for all that are made from such a model, C of a Keras model only if
            it has kernels for all ops of the int8 TFLite file.
        precision: of the files besides their float exports.
        calibration_images, calibration_seed: how many images set the activations' ranges, and which are drawn; they
            apply to data that are named by a path.
        reference: the float model of a ``.tflite``, or its ``reference.npz``; None to compare with the file itself.
        gate: the margins of the verdict.
        max_flash, max_ram: bytes that a C file may take of a microcontroller; None for no limit.
        board: a key of `known_boards.BOARDS`, whose memory limits C files too; None for no board.
        project: a folder to write as a library with the C file; None for none.
        io: input and output of an int8 TFLite file: ``uint8``, or ``float32`` for both; None for uint8.
        backend: kernels in generated C: ``c99``, ``arm``, ``x86`` or ``all``.
        build: compile generated C to a shared object too.
        sign: a private key to sign the folder's manifest with.
        workspace: the folder that holds models' folders.
        engine: that verifies the files; ``auto`` for every one installed. threads: that it may use.
        data: the data set.
        until_pass: repair int8 files that fail, see `mnist_edge.workflows.repair`.
    """

    model: str = DEFAULT_MODEL
    formats: tuple[str, ...] = ("all",)
    precision: Precision = Precision.INT8
    reference: Path | None = None
    calibration_images: int = 512
    calibration_seed: int = 0
    gate: Gate = field(default_factory=Gate)
    max_flash: int | None = None
    max_ram: int | None = None
    board: str | None = None
    project: Path | None = None
    io: str | None = None
    backend: str = "all"
    build: bool = False
    sign: Path | None = None
    workspace: Path = DEFAULT_WORKSPACE
    engine: str = "auto"
    threads: int = 1
    data: DataSource = None
    until_pass: bool = False


def trained_model(options: ExportOptions, progress: Progress) -> tuple[Path, str]:
    """Check an export's options, and return the workspace and the model that they mean.

    A SavedModel is converted to a float ONNX file first, which is then the model.

    Raises:
        UsageError: options that contradict each other, or no such backend, board or model.
        ContentError, MissingError: see `saved_model.to_onnx`.
    """
    if options.build and options.formats != ("c",):
        raise UsageError("--build compiles generated C.", "Add the format: --format c --build")
    if options.backend != "all" and options.formats != ("c",):
        how = f"Add the format: --format c --backend {options.backend}"
        raise UsageError("--backend chooses kernels of generated C.", how)
    if options.project is not None and options.formats != ("c",):
        raise UsageError("--project is a folder with generated C.", "Add the format: --format c --project DIR")
    if options.board is not None:
        known_boards.named(options.board)
        if not {"c", "all"} & set(options.formats):
            how = f"Add the format: --format c --for {options.board}"
            raise UsageError("--for is about generated C.", how)
    if options.io is not None and (options.formats, options.precision) != (("tflite",), Precision.INT8):
        how = f"Add the format, and leave out --quantize: --format tflite --io {options.io}"
        raise UsageError("--io is about int8 TFLite files; the others take float32 or uint8 only.", how)
    if options.io is not None and options.io not in conversion.IOS:
        raise suggest(options.io, list(conversion.IOS), "type of input and output")
    if options.until_pass and options.precision != Precision.INT8:
        raise UsageError("--until-pass repairs int8 files.", "Leave out --quantize, or --until-pass.")
    if options.backend not in conversion.BACKENDS:
        raise suggest(options.backend, list(conversion.BACKENDS), "backend")
    source = source_model(options.model, options.workspace, models.names(), SOURCE_SUFFIXES)
    if source not in models.names() and foreign.is_saved_model(Path(source)):
        source = str(saved_model.to_onnx(Path(source), options.workspace, progress))
    return exported_in_place(source, options.workspace)


def requested_formats(options: ExportOptions, workspace: Path, model: str) -> list[str]:
    """Names of the formats to make of the model that `trained_model` returned."""
    if options.reference is not None and Path(model).suffix != ".tflite":
        how = "Leave it out: other models are compared with themselves."
        raise UsageError("--reference is for a .tflite file that is named.", how)
    return conversion.requested(options.formats, _source_path(workspace, model))


def optional_formats(options: ExportOptions, workspace: Path, model: str) -> list[str]:
    """Names of the formats that ``all`` makes if it can, see `conversion.optional`; arguments as above."""
    return conversion.optional(options.formats, _source_path(workspace, model), options.precision)


def takes_features(workspace: Path, model: str) -> bool:
    """Whether the model may take features, which are no pictures: it is a TFLite file that was given."""
    return _source_path(workspace, model).suffix == ".tflite"


def _source_path(workspace: Path, model: str) -> Path:
    named, folder = Path(model), folder_of(workspace, model)
    return named if named.suffix in SOURCE_SUFFIXES else folder / Manifest.load(folder).source_name
