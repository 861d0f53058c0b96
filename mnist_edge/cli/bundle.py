"""``mnist-edge bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output
from mnist_edge.store.workspace import DEFAULT_WORKSPACE

NAME = "bundle"


def command(
    target: Annotated[str, typer.Option("--target", help="bookworm-arm64, trixie-arm64, ...-amd64.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help=f"Also this model: {options.MODEL_WORDS}. May be given often.")
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option("--extra", help="Also onnx, litert or tflite-runtime. May be given often.")
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option("--wheel", help="mnist-edge's own, where its source is not here.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Where to. Else mnist-edge-TARGET.tar.gz.")] = None,
    data: options.Data = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """One archive that installs on a device without a network: wheels, models, test images, checksums.

    Example: mnist-edge bundle --target bookworm-arm64
    """
    from mnist_edge import data as data_
    from mnist_edge.bundling import bundle
    from mnist_edge.runtime.selection import folders_to_copy
    from mnist_edge.store.manifest import sha256_of_file

    output = Output(NAME, as_json, debug)
    path = file or Path(f"mnist-edge-{target}.tar.gz")
    folders = [folder for word in model or [] for folder in folders_to_copy(word, workspace)]
    with output.progress() as progress:
        test, _ = data_.load_test(data, progress)
        files = bundle(target, path, extra or [], folders, test, wheel, progress)
    size, digest = path.stat().st_size, sha256_of_file(path)
    payload = {"path": str(path), "target": target, "size_bytes": size, "sha256": digest, "files": files}
    code = output.result(payload, f"{path}: {size:,} bytes, {len(files)} files", f"sha256 {digest}")
    output.next(f"tar xf {path.name} && sh mnist-edge-{target}/install.sh    # there")
    return code
