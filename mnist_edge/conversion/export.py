"""``export``: convert, embed the contract, write whole, record; and do nothing if nothing has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import __version__, models
from mnist_edge.conversion import calibration, isolation
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.registry import CONVERTERS, formats
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import suggest
from mnist_edge.formats import Contract
from mnist_edge.models.backend import installed_versions
from mnist_edge.results import Artifact
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, sha256_of

LOG_NAME = "export.log"
BACKENDS = ("all", "c99", "arm", "x86")  # of generated C
PACKAGE_FOLDER = Path(__file__).parent.parent
CODE_SUFFIXES = (".py", ".c", ".in")


@dataclass(frozen=True)
class ExportConfig:
    """What to make: a format by name, and ``int8``, ``float16`` or ``float32``; of C, the backends it has."""

    format: str
    quantization: str = "int8"
    backend: str = "all"


def file_name(model: str, config: ExportConfig) -> str:
    """The artifact's name in the model's folder."""
    return f"{model}-{config.quantization}{_converter(config).suffix}"


def export(folder: Path, config: ExportConfig, splits: Splits, progress: Progress = no_progress) -> Artifact:
    """Make one artifact from the model in a folder, with its manifest entry.

    Args:
        folder: holds ``model.keras`` and ``reference.npz``; its name is the model's.
        config: format and quantization.
        splits: its calibration part sets the activations' ranges.
        progress: told when a conversion starts.

    Returns:
        The artifact; ``fresh`` is False where it was there already, made from the same inputs.

    Raises:
        UsageError: no such format, quantization or backend.
        StageError: the conversion failed; what the converter printed is appended to ``export.log``.
        MissingError: a package of the build machine is not installed.
    """
    converter = _converter(config)
    if config.quantization not in converter.precisions:
        raise suggest(config.quantization, list(converter.precisions), f"quantization for {config.format}")
    if config.backend not in BACKENDS:
        raise suggest(config.backend, list(BACKENDS), "backend")
    manifest = Manifest.load(folder)
    source, reference = manifest.files[KERAS_NAME], manifest.files[REFERENCE_NAME]
    facts = {
        "format": config.format,
        "quantization": config.quantization,
        "backend": config.backend,
        "model_sha256": source["sha256"],
        "reference_sha256": reference["sha256"],
        "class_names": source["class_names"],
        "calibration": calibration.record(splits) if config.quantization == "int8" else None,
        "versions": installed_versions(("tensorflow", "keras", *converter.packages)),
        "code_sha256": code_sha256(converter.sources),
    }
    key = fingerprint(facts)
    name = file_name(folder.name, config)
    fresh = not manifest.is_current(name, key)
    if fresh:
        progress(f"converting {name}", 0, 1)
        with (folder / LOG_NAME).open("ab") as log:
            log.write(f"== {name}\n".encode())
        model = models.load(folder / KERAS_NAME)
        request = _request(folder, model, manifest, config, splits.calibration.images)
        try:
            content = isolation.run(config.format, converter.convert, folder / KERAS_NAME, model, request)
        finally:
            progress(f"converting {name}", 1, 1)
        if converter.finish is not None:
            content = converter.finish(content, splits.test)
        made = {"key": key, "format": config.format, "quantization": config.quantization, "model": folder.name}
        companions = converter.companions(content, Path(name).stem) if converter.companions is not None else {}
        beside = {other: (text, {"key": key}) for other, text in companions.items()}
        manifest.commit({name: (content, {**made, "made_by": facts}), **beside})
    entry = manifest.files[name]
    return Artifact(
        path=str(folder / name), format=config.format, model=folder.name, quantization=config.quantization,
        sha256=entry["sha256"], size_bytes=entry["size_bytes"], fresh=fresh,
    )  # fmt: skip


def code_sha256(sources: Sequence[str]) -> str:
    """Hash of code and templates of this package, so that a file made by other code is not taken for current.

    Args:
        sources: files and folders below the package's folder; of a folder all files count, at any depth.
    """
    paths: set[Path] = set()
    for source in sources:
        path = PACKAGE_FOLDER / source
        found = [path] if path.is_file() else [item for item in path.rglob("*") if item.suffix in CODE_SUFFIXES]
        if not found:
            raise FileNotFoundError(f"{source} holds no code")
        paths.update(found)
    return fingerprint({str(path.relative_to(PACKAGE_FOLDER)): sha256_of(path.read_bytes()) for path in sorted(paths)})


def _request(
    folder: Path, model: Any, manifest: Manifest, config: ExportConfig, images: NDArray[np.uint8]
) -> ConversionRequest:
    source = manifest.files[KERAS_NAME]
    contract = Contract(
        model=folder.name,
        class_names=tuple(source["class_names"]),
        quantization=config.quantization,
        preprocessor=source["preprocessor"],
        reference_sha256=manifest.files[REFERENCE_NAME]["sha256"],
        tool_version=__version__,
        pixel_scale=models.pixel_scale(model),
        output=source["output"],
    )
    return ConversionRequest(config.quantization, images, contract, folder / LOG_NAME, config.backend)


def _converter(config: ExportConfig) -> Converter:
    if config.format not in CONVERTERS:
        raise suggest(config.format, formats(), "format")
    return CONVERTERS[config.format]
