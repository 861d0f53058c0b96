"""``mnist-edge bundle``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.results.serialization import to_json
from mnist_edge.store.workspace import DEFAULT_WORKSPACE

NAME = "bundle"


def command(
    target: Annotated[
        str, typer.Option("--target", help="bookworm-arm64, trixie-arm64, bookworm-amd64 or trixie-amd64.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help=f"Also this model: {options.MODEL_WORDS}. May be given several times."),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option("--extra", help="Also onnx, litert or tflite-runtime. May be given several times."),
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option("--wheel", help="mnist-edge's own wheel, needed without its source.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The archive. Default: mnist-edge-TARGET.tar.gz.")] = None,
    data: options.Data = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Pack an archive that installs without a network.

    It is for a device, and holds wheels, models, test images and checksums.

    Example: mnist-edge bundle --target bookworm-arm64
    """
    from mnist_edge.workflows import bundle

    output = Output(NAME, as_json, debug)
    chosen = bundle.BundleOptions(
        target=target, models=tuple(model or ()), extras=tuple(extra or ()), wheel=wheel, file=file, data=data,
        workspace=workspace,
    )  # fmt: skip
    with output.progress() as progress:
        result = bundle.bundle(chosen, progress)
    shown = f"{result.path}: {result.size_bytes:,} bytes, {len(result.files)} files"
    code = output.result(to_json(result), shown, f"sha256 {result.sha256}")
    name = shlex.quote(Path(result.path).name)
    output.next(f"tar xf {name} && sh mnist-edge-{target}/install.sh    # on the device")
    return code
