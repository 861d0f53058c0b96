"""README.md, CONTRIBUTING.md and docs/: every command runs, every path exists, every option is known.

A fenced block is run in the order of its page, in a folder with a workspace, pictures and data. A comment in the line
above the block changes that:

- ``<!-- not run: REASON -->``: the block is not run here.
- ``<!-- run with: OPTIONS -->``: the options are added to every command of mnist-edge in the block, to make it short.
- ``<!-- prove -->``, ``<!-- test -->``: ``.ci/run`` runs the block.
- ``<!-- NAME.c -->``: the block is the file of that name.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import typer.main

from mnist_edge import data
from mnist_edge.cli.app import app
from tests.conftest import ROOT, unavailable

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
FENCE = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
RUN_BY_CI = ("prove", "test")
# Needed by commands of the pages, besides mnist-edge itself.
PROGRAMS = {"cc": "gcc", "cmake": "cmake", "curl": "curl"}
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s#]*)(#[^)\s]+)?\)")
# Pages of the site that are generated from the code.
GENERATED = ROOT / "docs" / "reference" / "cli.md"
SHIM = """#!/usr/bin/env bash
# mnist-edge on this Python. serve runs in the background until the block ends.
if [ "${1:-}" != serve ]; then exec "$DOCS_PYTHON" -m mnist_edge "$@"; fi
setsid "$DOCS_PYTHON" -m mnist_edge "$@" --port "$DOCS_PORT" >serve.log 2>&1 &
echo $! >>"$DOCS_SERVERS"
for _ in $(seq 300); do
    if curl --silent --fail --output /dev/null "http://127.0.0.1:$DOCS_PORT/v2/health/ready"; then exit 0; fi
    sleep 0.2
done
cat serve.log >&2
exit 1
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the marker in the line above it; an empty marker if there is none."""

    marker: str
    language: str
    text: str

    @property
    def reason_not_to_run(self) -> str:
        """Empty for a block that is run here."""
        if self.marker in RUN_BY_CI:
            return "run by .ci/run"
        return self.marker.removeprefix("not run: ") if self.marker.startswith("not run: ") else ""

    @property
    def options(self) -> str:
        """Options for every command of mnist-edge in the block."""
        return self.marker.removeprefix("run with: ") if self.marker.startswith("run with: ") else ""

    @property
    def file(self) -> str:
        """Name of the file whose content the block is; empty if it is not one."""
        return self.marker if re.fullmatch(r"[\w-]+\.[a-z]+", self.marker) else ""


def blocks(path: Path) -> list[Block]:
    return [
        Block(match["marker"] or "", match["language"], match["text"]) for match in FENCE.finditer(path.read_text())
    ]


def command_lines(path: Path) -> list[list[str]]:
    """Words after ``mnist-edge`` of every command line on a page, in blocks and in code marks."""
    lines = re.findall(r"`mnist-edge ([^`]+)`", path.read_text())
    for block in blocks(path):
        if block.language == "bash":
            lines += re.findall(r"(?<![\w.-])mnist-edge ([^\n#|>&]+)", block.text)
    return [line.split() for line in lines]


def commands_named(path: Path) -> set[str]:
    """Commands of mnist-edge that a page names."""
    return {words[0] for words in command_lines(path) if not words[0].startswith("-") and words[0] != "COMMAND"}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_is_output_or_a_file_or_is_run_or_says_why_not(page: str) -> None:
    text = PAGES[page].read_text()
    assert text.count("\n```") + text.startswith("```") == 2 * len(blocks(PAGES[page])), "an indented or open fence"
    for block in blocks(PAGES[page]):
        known = (
            block.language == "text" or block.file or block.reason_not_to_run or block.language in ("bash", "python")
        )
        assert known, f"neither run nor marked: {block}"
        if block.marker:
            assert block.file or block.options or block.reason_not_to_run, f"unknown marker: {block.marker}"
        if block.marker.startswith("not run: "):
            assert len(block.reason_not_to_run) > 10, block


def test_the_blocks_that_ci_runs_are_in_the_readme_once() -> None:
    markers = [block.marker for path in PAGES.values() for block in blocks(path) if block.marker in RUN_BY_CI]
    assert sorted(markers) == sorted(RUN_BY_CI)
    assert {block.marker for block in blocks(ROOT / "README.md")} >= set(RUN_BY_CI)


@pytest.mark.parametrize("page", PAGES)
def test_every_option_of_a_command_on_a_page_is_known_to_the_command(page: str) -> None:
    group = typer.main.get_command(app)
    known = {
        name: {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
    assert commands_named(PAGES[page]) <= set(known)
    for command, *words in command_lines(PAGES[page]):
        options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert options <= known.get(command, options), (command, words)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_every_path_in_code_marks_exists(page: str) -> None:
    folder, text = PAGES[page].parent, PAGES[page].read_text()
    links = [link for link, _ in LINK.findall(text) if link]
    assert [link for link in links if not (folder / link).exists() and folder / link != GENERATED] == []
    paths = re.findall(r"`(?:python3? )?((?:mnist_edge|tests|tools|benchmarks|docs|\.ci|\.github)/[\w./-]*)", text)
    paths += [name.replace(".", "/") + ".py" for name in re.findall(r"python -m ((?:tests|mnist_edge)\.[\w.]+)", text)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_section_leads_to_a_heading(page: str) -> None:
    path = PAGES[page]
    for link, anchor in LINK.findall(path.read_text()):
        if anchor and (link.endswith(".md") or not link):
            target = (path.parent / link) if link else path
            assert anchor.removeprefix("#") in anchors(target), f"{link}{anchor}"


def anchors(path: Path) -> set[str]:
    """Names of a page's headings in links, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_page_of_docs_is_in_the_navigation_and_linked_from_the_readme_or_another_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    linked = {
        (path.parent / link).resolve() for path in PAGES.values() for link, _ in LINK.findall(path.read_text()) if link
    }
    for path in (ROOT / "docs").rglob("*.md"):
        assert f": {path.relative_to(ROOT / 'docs').as_posix()}\n" in navigation + "\n", path
        assert path.name == "index.md" or path in linked, path


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation."""
    if importlib.util.find_spec("mkdocs") is None:
        unavailable("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "true"},
    )  # fmt: skip
    return folder


def test_the_site_loads_nothing_from_elsewhere_and_has_every_command_and_public_name(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES) - 2
    for page in pages:
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\s\">]+)", page.read_text())
        loaded += re.findall(
            r"<link\b[^>]*\brel=\"?(?:stylesheet|preconnect|icon)[^>]*\bhref=\"?([^\s\">]+)", page.read_text()
        )
        assert loaded
        assert [address for address in loaded if urlsplit(address).netloc] == [], page
        for address in set(loaded) - {"data:,"}:  # the icon of a page that is one file
            assert (page.parent / address.partition("?")[0]).resolve().is_file() or page.name == "404.html", address
    assert (site / "models" / "cnn.html").stat().st_size > 600_000
    assert 'href="../models/cnn.html"' in (site / "browser" / "index.html").read_text()
    commands = (site / "reference" / "cli" / "index.html").read_text()
    for command in app.registered_commands:
        assert f"Usage: mnist-edge {command.name} " in commands
    names = (site / "reference" / "api" / "index.html").read_text()
    for name in ("load_data", "train", "export", "verify", "open_session", "bench"):
        assert f'id="mnist_edge.{name}"' in names


@pytest.fixture(scope="session")
def prepared(workspace: Path, mnist: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands of the pages use."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder, workspace, mnist)
    return folder


def prepare(folder: Path, workspace: Path, mnist: data.Splits) -> None:
    """Make a workspace, models, data and pictures in a folder.

    ``cnn`` is the trained ``dense`` under that name, so that 10,000 images take a second on every engine.
    """
    shutil.copytree(workspace / "dense", folder / "artifacts" / "dense")
    shutil.copy(workspace / "dense" / "model.keras", folder / "my-model.keras")
    shutil.copy(workspace / "dense" / "model.keras", folder / "cnn.keras")
    shutil.copy(workspace / "dense" / "dense-int8.tflite", folder / "given.tflite")
    shutil.copy(ROOT / "tests" / "support" / "pytorch_net.onnx", folder / "net.onnx")
    for words in (["export", "--model", "cnn.keras"], ["data", "--sample", "digit.png"]):
        subprocess.run([sys.executable, "-m", "mnist_edge", *words], cwd=folder, check=True)
    (folder / "image.raw").write_bytes(mnist.test.images[0].tobytes())
    (folder / "pictures").mkdir()
    shutil.copy(folder / "digit.png", folder / "pictures")
    for name, train, test in (("small.npz", 1000, mnist.test.images[:200]), ("my-data.npz", 3000, mnist.test.images)):
        np.savez(
            folder / name,
            x_train=mnist.train.images[:train, ..., 0], y_train=mnist.train.labels[:train].astype(np.uint8),
            x_test=test[..., 0], y_test=mnist.test.labels[: len(test)].astype(np.uint8),
        )  # fmt: skip


@pytest.fixture
def sandbox(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the prepared folder; servers that were started in it are ended."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            unavailable(f"{program} ({package})")
    folder = tmp_path / "sandbox"
    shutil.copytree(prepared, folder)
    write_programs(tmp_path / "bin")
    yield folder
    end_servers(folder)


def write_programs(folder: Path) -> None:
    """Make a folder for PATH in which ``mnist-edge`` and ``python`` use the interpreter of this test."""
    folder.mkdir()
    (folder / "mnist-edge").write_text(SHIM)
    (folder / "mnist-edge").chmod(0o755)
    (folder / "python").symlink_to(sys.executable)


def end_servers(folder: Path) -> None:
    record = folder / "servers"
    for pid in record.read_text().split() if record.exists() else ():
        os.killpg(int(pid), signal.SIGTERM)
    record.unlink(missing_ok=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(block: Block, folder: Path) -> None:
    """Run one block in a folder, as its marker says; it must end with exit code 0."""
    if block.file:
        (folder / block.file).write_text(block.text)
        return
    port = free_port()
    text = block.text.replace(":8080", f":{port}")
    if block.options:
        text = re.sub(r"^(mnist-edge [^#\n]*?)( +#.*)?$", rf"\1 {block.options}", text, flags=re.MULTILINE)
    words = ["bash", "-euo", "pipefail", "-c", text] if block.language == "bash" else [sys.executable, "-c", text]
    environment = {
        **os.environ,
        "PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DOCS_PYTHON": sys.executable,
        "DOCS_PORT": str(port),
        "DOCS_SERVERS": str(folder / "servers"),
    }
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600)
    end_servers(folder)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def is_run(block: Block) -> bool:
    return not block.reason_not_to_run and (block.language in ("bash", "python") or bool(block.file))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, path in PAGES.items() if any(map(is_run, blocks(path)))])
def test_the_commands_of_a_page_run(page: str, sandbox: Path) -> None:
    for block in filter(is_run, blocks(PAGES[page])):
        run(block, sandbox)


def test_a_command_that_fails_fails_the_test(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    with pytest.raises(AssertionError, match="no-such-file"):
        run(Block("", "bash", "cat no-such-file | sort"), folder)


def test_an_unmarked_block_of_another_language_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```console\nmnist-edge data\n```\n")
    monkeypatch.setitem(PAGES, "page.md", page)
    with pytest.raises(AssertionError, match="neither run nor marked"):
        test_every_block_of_a_page_is_output_or_a_file_or_is_run_or_says_why_not("page.md")
