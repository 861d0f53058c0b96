"""``mnist-edge info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table
from mnist_edge.errors import one_line
from mnist_edge.store.workspace import DEFAULT_WORKSPACE, short_name

NAME = "info"
# What the manifest next to the file says about the file.
_MANIFEST = {
    "agrees": "its manifest agrees",
    "none": "no manifest names this file",
    "disagrees": "its manifest disagrees: the SHA-256 there is another",
}


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"The model: {options.MODEL_WORDS}.")],
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """What is in a model's file: ops, tensors, scales, metadata, hash. It is read, not run.

    Of a model with several files, the one that predict takes.

    A file that differs from what its manifest says is shown all the same, and the exit code is 4.

    Example: mnist-edge info artifacts/cnn/cnn-int8.tflite
    """
    from mnist_edge import formats
    from mnist_edge.runtime.selection import pick_file
    from mnist_edge.store.manifest import other_content
    from mnist_edge.store.model_file import ModelFile

    output = Output(NAME, as_json, debug)
    path = Path(model) if Path(model).is_file() else pick_file(workspace, model)
    opened = ModelFile.open(path, trust=True)
    content = opened.content
    file = formats.read(content, path)
    manifest = "agrees" if opened.verified else "disagrees" if opened.entry else "none"
    sha256 = opened.sha256
    name = model if str(path) == model else short_name(path, workspace)
    facts = [
        f"{name}: {file.format}, {len(content):,} bytes, {_MANIFEST[manifest]}",
        f"sha256 {sha256}",
        *(f"input  {_tensor(item)}" for item in file.inputs),
        *(f"output {_tensor(item)}" for item in file.outputs),
        *(f"{one_line(key)}: {value}" for key, value in file.metadata.items() if value.isprintable()),
    ]
    ops = table("", "op", "output", "dtype", "shape", "scale", "zero point")
    tensors = {item.name: item for item in file.tensors}
    for op in file.ops:
        result = tensors.get(op.outputs[0]) if op.outputs else None
        cells = (
            (result.dtype, _shape(result.shape), _few(result.scale), _few(result.zero_point)) if result else ("",) * 4
        )
        ops.add_row(one_line(op.kind), one_line(op.outputs[0])[-48:] if op.outputs else "", *cells)
    payload = {
        "path": str(path), "size_bytes": len(content), "sha256": sha256,
        "verified": None if manifest == "none" else opened.verified, "manifest": manifest,
        "file": file, "contract": file.contract,
    }  # fmt: skip
    error = other_content(path) if manifest == "disagrees" else None
    return output.result(payload, *facts, ops, error=error)


def _tensor(item: Any) -> str:
    grid = f", scale {_few(item.scale)}, zero point {_few(item.zero_point)}" if item.scale else ""
    return f"{one_line(item.name)}: {item.dtype} {_shape(item.shape)}{grid}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join("n" if size == -1 else str(size) for size in shape)


def _few(values: tuple[float, ...]) -> str:
    return "" if not values else f"{values[0]:.6g}" + (f" … ({len(values)})" if len(values) > 1 else "")
