"""Export of a trained model to one file, unless the file exists and its inputs have not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mnist_edge import __version__, models
from mnist_edge.conversion import c, calibration, int4, isolation
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.registry import CONVERTERS, formats, not_made_from
from mnist_edge.conversion.request import UINT8, USUAL, ConversionRequest, Quantizer
from mnist_edge.data import Split, Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import UsageError, suggest
from mnist_edge.formats import Contract
from mnist_edge.formats import c as c_format
from mnist_edge.models.backend import installed_versions
from mnist_edge.results import Artifact
from mnist_edge.results.precision import INTEGER, QUANTIZE_VALUES, Precision
from mnist_edge.runtime.engines import native
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, read_verified, sha256_of
from mnist_edge.store.workspace import KERAS_SUFFIX

LOG_NAME = "export.log"
BACKENDS = ("all", "c99", "arm", "x86")  # sets of kernels in generated C
PACKAGE_FOLDER = Path(__file__).parent.parent
BUILD_SOURCES = ("runtime/engines/native.py", "toolchains/host_cc.py")
CODE_SUFFIXES = (".py", ".c", ".h", ".in")


@dataclass(frozen=True)
class ExportConfig:
    """Which file to make.

    Attributes:
        format: name of a converter.
        quantization: the precision: ``int8``, ``int4``, ``float16`` or ``float32``.
        backend: sets of kernels that generated C contains, one of `BACKENDS`; other formats ignore it.
        quantizer: choices of an int8 conversion.
        io: type of the input of an int8 TFLite file, one of `IOS`; other files ignore it.
    """

    format: str
    quantization: str = Precision.INT8
    backend: str = "all"
    quantizer: Quantizer = USUAL
    io: str = UINT8


def file_name(model: str, config: ExportConfig) -> str:
    """The file's name in the folder of the named model.

    An int8 file with float32 input has a name of its own: it does not replace the one that takes pixels, which is
    faster, and from which C is made.

    Raises:
        UsageError: no such format.
    """
    io = "-float-io" if _has_other_io(config) else ""
    return f"{model}-{config.quantization}{io}{_converter(config).suffix}"


def export(folder: Path, config: ExportConfig, splits: Splits, progress: Progress = no_progress) -> Artifact:
    """Export the model in a folder to one file, and record it in the folder's manifest.

    Args:
        folder: contains ``model.keras`` or another model, and ``reference.npz``, and has the model's name.
        config: which file to make.
        splits: the calibration images set the ranges of activations; accuracy is measured on the test images.
        progress: called when a conversion starts and when it ends.

    Returns:
        The file; ``fresh`` is False if it existed and was made from the same inputs.

    Raises:
        UsageError: no such format or backend, or the format does not have this precision or is not made of this model.
        StageError: the conversion failed. The converter's output is in ``export.log``.
        MissingError: a package of the build machine is not installed.
    """
    converter = _converter(config)
    if config.quantization not in converter.precisions:
        names = [name for name, item in QUANTIZE_VALUES.items() if item in converter.precisions]
        cause = f"--format {config.format} makes no {config.quantization} files."
        raise UsageError(cause, f"Use --quantize {' or '.join(names)}, or another format.")
    if config.backend not in BACKENDS:
        raise suggest(config.backend, list(BACKENDS), "backend")
    manifest = Manifest.load(folder)
    path = folder / manifest.source_name
    if not converter.takes(path.suffix):
        raise not_made_from(path, config.format)
    facts = facts_of(manifest, config, splits)
    key = fingerprint(facts)
    name = file_name(folder.name, config)
    fresh = not manifest.is_current(name, key)
    if fresh:
        progress(f"converting {name}", 0, 1)
        with (folder / LOG_NAME).open("ab") as log:
            log.write(f"== {name}\n".encode())
        try:
            request = _request(manifest, splits, config)
            int8 = int8_tflite(manifest, config, splits) if converter.convert_int8 is not None else None
            content = _converted(path, converter, request, int8)
        finally:
            progress(f"converting {name}", 1, 1)
        if converter.finish is not None:
            content = converter.finish(content, splits.test)
        new_entry = {"key": key, "format": config.format, "quantization": config.quantization, "model": folder.name}
        companions = converter.companions(content, Path(name).stem) if converter.companions is not None else {}
        companion_files = {other: (text, {"key": key}) for other, text in companions.items()}
        manifest.commit({name: (content, {**new_entry, "made_by": facts}), **companion_files})
    entry = manifest.files[name]
    return Artifact(
        path=str(folder / name), format=config.format, model=folder.name, quantization=config.quantization,
        sha256=entry["sha256"], size_bytes=entry["size_bytes"], fresh=fresh,
    )  # fmt: skip


def facts_of(manifest: Manifest, config: ExportConfig, splits: Splits) -> dict[str, object]:
    """All that the content of an exported file depends on, as a JSON object: its fingerprint is the file's key.

    Args:
        manifest: of the model's folder. config: which file. splits: the calibration images.

    Raises:
        UsageError: no such format.
    """
    converter = _converter(config)
    name = manifest.source_name
    packages = ("tensorflow", "keras", *converter.packages) if name.endswith(KERAS_SUFFIX) else converter.packages
    source, reference = manifest.files[name], manifest.files[REFERENCE_NAME]
    facts = {
        "format": config.format,
        "quantization": config.quantization,
        "backend": config.backend,
        "model_sha256": source["sha256"],
        "reference_sha256": reference["sha256"],
        "class_names": source["class_names"],
        "calibration": calibration.record(splits) if config.quantization in INTEGER else None,
        "versions": installed_versions(packages),
        "code_sha256": code_sha256(converter.sources),
    }
    if converter.compiler is not None:
        facts["compiler"] = converter.compiler()
    if config.quantizer != USUAL:
        facts["quantizer"] = asdict(config.quantizer)
    if _has_other_io(config):
        facts["io"] = config.io
    if config.quantization == Precision.INT4:
        # The record of the calibration images names the split seed and the images' file, which determine the rest.
        images = {"training": int4.training_images(splits), "validation": len(splits.validation)}
        facts["four_bits"] = {**images, "labels_sha256": splits.sha256.get("train_labels")}
    return facts


def int8_tflite(manifest: Manifest, config: ExportConfig, splits: Splits) -> bytes | None:
    """The int8 TFLite file in the folder of a Keras model, if its configuration and data are the given ones; else None.

    Args:
        manifest: of the model's folder. config: whose choices of an int8 conversion count. splits: the data.
    """
    of_int8 = replace(config, format="tflite", quantization=Precision.INT8, backend="all", io=UINT8)
    name = file_name(manifest.folder.name, of_int8)
    if manifest.source_name != KERAS_NAME or not manifest.is_current(
        name, fingerprint(facts_of(manifest, of_int8, splits))
    ):
        return None
    return read_verified(manifest.folder / name)[0]


def build(source: Artifact, test: Split) -> Artifact:
    """Compile an exported C file to a shared object, which runs without a compiler on this kind of processor.

    Args:
        source: the C file, in its model's folder.
        test: the test images, on which the accuracy is measured if the C file does not state it.

    Returns:
        The artifact, next to the C file; ``fresh`` is False if it was compiled from the same file before.

    Raises:
        MissingError: there is no compiler.
        RefusedError: the file does not compile.
    """
    path = Path(source.path).with_suffix(".so")
    manifest = Manifest.load(path.parent)
    entry = manifest.files[Path(source.path).name]
    made_by = {**entry["made_by"], "source_sha256": entry["sha256"], "build_sha256": code_sha256(BUILD_SOURCES)}
    key = fingerprint(made_by)
    fresh = not manifest.is_current(path.name, key)
    if fresh:
        content, _ = read_verified(Path(source.path))
        if c_format.facts_of(content)["accuracy"] is None:  # no compiler was installed when it was exported
            content = c.finish(content, test)
        made = {"key": key, "format": "so", "quantization": source.quantization, "model": source.model}
        manifest.commit({path.name: (native.compiled(content), {**made, "made_by": made_by})})
    entry = manifest.files[path.name]
    return replace(
        source, path=str(path), format="so", sha256=entry["sha256"], size_bytes=entry["size_bytes"], fresh=fresh
    )


def code_sha256(sources: Sequence[str]) -> str:
    """SHA-256 over code and templates of this package; part of a file's key, so that changed code makes a new file.

    Args:
        sources: files and folders, relative to the package's folder. A folder stands for all code in it, at any depth.

    Raises:
        FileNotFoundError: a source does not exist or has no code.
    """
    paths: set[Path] = set()
    for source in sources:
        path = PACKAGE_FOLDER / source
        found = [path] if path.is_file() else [item for item in path.rglob("*") if item.suffix in CODE_SUFFIXES]
        if not found:
            raise FileNotFoundError(f"{source} holds no code")
        paths.update(found)
    return fingerprint({str(path.relative_to(PACKAGE_FOLDER)): sha256_of(path.read_bytes()) for path in sorted(paths)})


def _converted(path: Path, converter: Converter, request: ConversionRequest, int8: bytes | None) -> bytes:
    """The content of the file that a converter makes from the model in a folder, or from its int8 TFLite file."""
    if int8 is not None and converter.convert_int8 is not None:
        return isolation.attempt(converter.name, converter.convert_int8, int8, request)
    if path.suffix != KERAS_SUFFIX:
        content, _ = read_verified(path)
        return isolation.attempt(converter.name, converter.convert_from[path.suffix], content, request)
    model = models.load(path)
    request = replace(request, contract=replace(request.contract, pixel_scale=models.pixel_scale(model)))
    return isolation.run(converter.name, converter.convert, path, model, request)


def _request(manifest: Manifest, splits: Splits, config: ExportConfig) -> ConversionRequest:
    precision = Precision(config.quantization)
    source = manifest.files[manifest.source_name]
    contract = Contract(
        model=manifest.folder.name,
        class_names=tuple(source["class_names"]),
        quantization=precision,
        preprocessor=source["preprocessor"],
        reference_sha256=manifest.files[REFERENCE_NAME]["sha256"],
        tool_version=__version__,
        pixel_scale=source.get("pixel_scale", 1 / 255),
        output=source["output"],
    )
    log = manifest.folder / LOG_NAME
    images = splits.calibration.images
    four_bits = int4.data_of(splits) if precision == Precision.INT4 else None
    return ConversionRequest(precision, images, contract, log, config.backend, config.quantizer, config.io, four_bits)


def _has_other_io(config: ExportConfig) -> bool:
    """Whether a file is an int8 TFLite file with another input than uint8."""
    return config.io != UINT8 and (config.format, config.quantization) == ("tflite", Precision.INT8)


def _converter(config: ExportConfig) -> Converter:
    if config.format not in CONVERTERS:
        raise suggest(config.format, formats(), "format")
    return CONVERTERS[config.format]
