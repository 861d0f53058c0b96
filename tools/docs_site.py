"""MkDocs hook: the reference of the command line, a model's page, and links and pictures outside ``docs/``.

The pages link to other files of the repository by relative paths, which work on GitHub. On the site such a link leads
to GitHub, and a picture is copied, so that the site loads nothing from elsewhere.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from mnist_edge.cli.app import app
from mnist_edge.conversion import c, wasm, web
from mnist_edge.errors import MissingError
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store.manifest import read_verified
from mnist_edge.store.model_file import ModelFile
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.export_web import web_model

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/mnist-edge/mnist-edge/blob/main"
CLI_PAGE = "reference/cli.md"
PICTURES = {
    ROOT / path: f"pictures/{Path(path).name}" for path in ("tools/verdict.svg", "benchmarks/results/tradeoff.svg")
}
# The model whose page for a browser is on the site, and its place there.
SHOWN = "cnn"
SHOWN_PAGE = f"models/{SHOWN}.html"
# Where a page of the documentation links to it. On GitHub, which has no such page, it is a comment.
SHOWN_MARK = "<!-- the page of the model -->"
SHOWN_LINK = f"[Open the page of `{SHOWN}`]({SHOWN_PAGE}): it works here, as it does from a file."
WIDTH = 100
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated reference of the command line, and the pictures from outside ``docs/``."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, CLI_PAGE, content=cli_reference()))
    with contextlib.suppress(MissingError):  # no compiler for WebAssembly: the site has no such page
        files.append(File.generated(config, SHOWN_PAGE, content=shipped_page(SHOWN)))
    for path, name in PICTURES.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside ``docs/`` point to the repository on GitHub, or to the site's copy of a picture."""
    folder = (DOCS / page.file.src_uri).parent

    def target(match: re.Match[str]) -> str:
        path = (folder / match[1]).resolve()
        if path.is_relative_to(DOCS) or not path.is_relative_to(ROOT):
            return match[0]
        if path in PICTURES:
            return posixpath.relpath(PICTURES[path], posixpath.dirname(page.file.src_uri) or ".")
        return f"{REPOSITORY}/{path.relative_to(ROOT).as_posix()}{match[2] or ''}"

    if files.get_file_from_path(SHOWN_PAGE) is not None:
        markdown = markdown.replace(SHOWN_MARK, SHOWN_LINK)
    return LINK.sub(target, markdown)


def shipped_page(model: str) -> bytes:
    """The page of a shipped model for a browser, as ``export --format wasm`` writes it.

    Raises:
        MissingError: there is no compiler for WebAssembly, or no engine to make the answers of its golden set.
    """
    file = ModelFile.open(SHIPPED / model / f"{model}-int8.tflite")
    images = Golden.from_bytes(read_verified(golden_path(file.path))[0]).images
    module = wasm.module(c.from_tflite(file.content, model, images, wasm.BACKEND))
    return web.files(web_model(model, module, file.temperature, images))[f"{model}.html"]


def cli_reference() -> str:
    """Markdown with the ``--help`` of the program and of every command."""
    parts = ["# Command line", "Generated from the program: `mnist-edge COMMAND --help` prints the same.", _help()]
    for command in app.registered_commands:
        parts += [f"## {command.name}", _help(str(command.name))]
    return "\n\n".join(parts) + "\n"


def _help(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="mnist-edge", terminal_width=WIDTH)
    assert done.exit_code == 0, done.output
    return f"```text\n{done.output.strip()}\n```"
