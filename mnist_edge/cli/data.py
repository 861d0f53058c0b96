"""``mnist-edge data``."""

from __future__ import annotations

from typing import Annotated

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, table

NAME = "data"


def command(
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch what is not there.")] = False,
    test_only: Annotated[
        bool, typer.Option("--test-only", help="Fetch the test images alone, as on a device.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the cached files.")] = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Show, fetch or clear the cached MNIST files.

    Example: mnist-edge data --test-only
    """
    from mnist_edge.data import fetch as cache
    from mnist_edge.data.catalog import FILES, TEST_ROLES

    output = Output(NAME, as_json, debug)
    if clear:
        cache.clear_cache()
    if fetch or test_only:
        with output.progress() as progress:
            cache.mnist(TEST_ROLES if test_only else tuple(FILES), progress)
    present = cache.cached(tuple(FILES))
    shown = table("", "file", "cached", ">bytes")
    rows = []
    for role, name in FILES.items():
        size = present[role].stat().st_size if role in present else None
        shown.add_row(name, "yes, verified" if role in present else "no", f"{size:,}" if size is not None else "")
        rows.append({"file": name, "cached": role in present, "size_bytes": size})
    return output.result({"folder": str(cache.cache_folder()), "files": rows}, str(cache.cache_folder()), shown)
