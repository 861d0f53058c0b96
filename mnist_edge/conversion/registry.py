"""Registry of the converters. To add a format, write a module with a `Converter` and name it in ``CONVERTERS``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_edge.conversion import c, onnx, tflite, wasm
from mnist_edge.conversion.converter import Converter
from mnist_edge.errors import UsageError, suggest
from mnist_edge.results.precision import Precision
from mnist_edge.store.workspace import KERAS_SUFFIX, source_name

CONVERTERS: dict[str, Converter] = {
    converter.name: converter for converter in (c.CONVERTER, onnx.CONVERTER, tflite.CONVERTER, wasm.CONVERTER)
}

# What a model is called in messages, by the suffix of its file.
KINDS = {".keras": "a Keras model", ".onnx": "an ONNX model", ".tflite": "a TFLite file"}


def formats(every: bool = True, suffix: str = KERAS_SUFFIX) -> list[str]:
    """The names of the formats that are made from models with a suffix.

    With ``every=False``, only those that ``--format all`` always makes: of Keras models those without ``on_demand``, of
    other models all those with ``in_all``.
    """
    found = [name for name, item in CONVERTERS.items() if item.takes(suffix)]
    if every:
        return found
    return [
        name
        for name in found
        if CONVERTERS[name].in_all and not (suffix == KERAS_SUFFIX and CONVERTERS[name].on_demand)
    ]


def requested(names: Sequence[str], path: Path) -> list[str]:
    """Resolve the values of ``--format`` to names of formats, without repetitions.

    Args:
        names: of formats; ``all`` stands for several.
        path: of the model's file, of which only the suffix is used.

    Raises:
        UsageError: no such format, or it is not made from such a model.
    """
    suffix = Path(source_name(path)).suffix
    for name in names:
        if name not in CONVERTERS and name != "all":
            raise suggest(name, ["all", *CONVERTERS], "format")
        if name != "all" and not CONVERTERS[name].takes(suffix):
            raise not_made_from(path, name)
    made = formats(every=False, suffix=suffix)
    return list(dict.fromkeys(item for name in names for item in (made if name == "all" else [name])))


def optional(names: Sequence[str], path: Path, precision: Precision) -> list[str]:
    """Names of the formats that ``all`` makes besides those of `requested`, if it can; none if ``all`` is not in names.

    Args:
        names, path: as for `requested`. precision: of the files.
    """
    made = requested(names, path) if "all" in names else list(CONVERTERS)
    others = [name for name in formats(suffix=Path(source_name(path)).suffix) if name not in made]
    return [name for name in others if CONVERTERS[name].in_all and precision in CONVERTERS[name].precisions]


def not_made_from(path: Path, format_: str) -> UsageError:
    """The error for a format that is not made from models like the one in a file."""
    suffix = Path(source_name(path)).suffix
    kind = KINDS[suffix]
    possible = " or ".join(f"--format {name}" for name in formats(suffix=suffix))
    return UsageError(
        f"--format {format_} is not made from {kind}.",
        f"From {kind}: {possible}. For other formats see 'Ways to the other formats' in docs/your-own-model.md.",
    )
