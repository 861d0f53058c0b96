"""``mnist-edge info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table
from mnist_edge.errors import one_line
from mnist_edge.store.manifest import REFERENCE_NAME
from mnist_edge.store.workspace import DEFAULT_WORKSPACE

if TYPE_CHECKING:
    from mnist_edge.formats import Contract

NAME = "info"
SHOWN_CLASSES = 20
# How the file compares with the manifest next to it.
_MANIFEST = {
    "agrees": "its manifest agrees",
    "none": "no manifest names this file",
    "disagrees": "its manifest disagrees: it names another SHA-256",
}


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"The model: {options.MODEL_WORDS}.")],
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Show the content of a model file.

    Ops, tensors, scales, metadata and hash are shown. The file is parsed, not run. If a model has several files, the
    one that predict takes is shown. A file that differs from its manifest is shown too, and the exit code is 4.

    Example: mnist-edge info artifacts/cnn/cnn-int8.tflite
    """
    from mnist_edge.workflows import info

    output = Output(NAME, as_json, debug)
    result = info.info(info.InfoOptions(model=model, workspace=workspace))
    file = result.structure
    contract = file.contract
    facts = [
        f"{result.name}: {file.format}, {result.size_bytes:,} bytes, {_MANIFEST[result.manifest]}",
        _row("sha256", result.sha256),
        *(_row("input", _tensor(item)) for item in file.inputs),
        *(_row("output", _tensor(item)) for item in file.outputs),
        *(_contract_rows(contract) if contract is not None else []),
        *(f"{one_line(key)}: {value}" for key, value in result.other_metadata.items() if value.isprintable()),
    ]
    payload = {
        "path": str(result.path), "size_bytes": result.size_bytes, "sha256": result.sha256,
        "verified": {"agrees": True, "disagrees": False, "none": None}[result.manifest], "manifest": result.manifest,
        "file": file, "contract": contract,
    }  # fmt: skip
    return output.result(payload, *facts, _ops(file), error=result.error)


def _contract_rows(contract: Contract) -> list[str]:
    names, count = contract.class_names[:SHOWN_CLASSES], len(contract.class_names)
    return [
        _row("model", contract.model),
        _row("classes", f"{count}: {', '.join(names)}{', ...' if count > SHOWN_CLASSES else ''}"),
        _row("precision", contract.quantization),
        _row("preprocessor", contract.preprocessor),
        _row("pixel scale", f"{contract.pixel_scale:.6g}: the real input is a pixel from 0 to 255 times this number"),
        _row("layout", contract.layout),
        _row("answers", contract.output),
        _row("float answers", f"{REFERENCE_NAME} with sha256 {contract.reference_sha256}"),
        _row("made by", f"mnist-edge {contract.tool_version}"),
    ]


def _row(name: str, value: str) -> str:
    return f"{name:<13} {one_line(value)}"


def _ops(file: Any) -> Any:
    """A table with a row per op: its kind and its first output."""
    ops = table("", "op", "output", "dtype", "shape", "scale", "zero point")
    tensors = {item.name: item for item in file.tensors}
    for op in file.ops:
        result = tensors.get(op.outputs[0]) if op.outputs else None
        cells = (
            (result.dtype, _shape(result.shape), _few(result.scale), _few(result.zero_point)) if result else ("",) * 4
        )
        ops.add_row(one_line(op.kind), one_line(op.outputs[0])[-48:] if op.outputs else "", *cells)
    return ops


def _tensor(item: Any) -> str:
    grid = f", scale {_few(item.scale)}, zero point {_few(item.zero_point)}" if item.scale else ""
    return f"{one_line(item.name)}: {item.dtype} {_shape(item.shape)}{grid}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join("n" if size == -1 else str(size) for size in shape)


def _few(values: tuple[float, ...]) -> str:
    return "" if not values else f"{values[0]:.6g}" + (f" … ({len(values)})" if len(values) > 1 else "")
