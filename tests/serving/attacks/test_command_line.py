"""The command line with full disks, closed descriptors, special files, hostile file names and endless input."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_edge.cli.output import Output, table
from mnist_edge.errors import ContentError, UsageError, printable
from mnist_edge.runtime.predict import find_pictures
from mnist_edge.runtime.selftest import golden_path
from mnist_edge.store import files, manifest
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import Run, assert_two_lines, unavailable

SECONDS = 60
FULL = Path("/dev/full")
DENSE = SHIPPED / "dense" / "dense-int8.tflite"
NAME = "evil\x1b[31m\nmnist-edge: all is well\u202e.png"
# Commands that succeed and print text.
PRINTING = [
    ["--version"],
    ["--help"],
    ["predict", "--help"],
    ["info", str(DENSE)],
    ["predict", "PICTURE", "--model", str(DENSE)],
    ["verify", "--selftest", str(DENSE)],
    ["data"],
    ["doctor"],
]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "one.png"
    Image.fromarray(np.pad(np.full((20, 3), 255, np.uint8), ((4, 4), (13, 12)))).save(path)
    return path


def start(words: list[Any], redirection: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``mnist-edge`` from a shell that first applies a redirection to its descriptors."""
    options.setdefault("env", {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"})
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "mnist_edge", *words]
    return subprocess.run(
        command, check=False, timeout=SECONDS, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    )


def assert_output_error(
    done: subprocess.CompletedProcess[bytes], cause: str = "The output cannot be written: "
) -> None:
    text = done.stderr.decode()
    lines = [line for line in text.splitlines() if not line.endswith(" ...")]
    assert done.returncode == 5, text
    assert len(lines) == 2, text
    assert lines[0].startswith(f"mnist-edge: {cause}")
    assert lines[1].startswith("  remedy: ")


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "1</dev/null"])
@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_output_that_cannot_be_written_is_exit_5(words: list[str], redirection: str, picture: Path) -> None:
    if not FULL.exists():
        unavailable("/dev/full")
    words = [word.replace("PICTURE", str(picture)) for word in words]
    assert_output_error(start(words, redirection))
    if not words[-1].startswith("--"):
        assert_output_error(start([*words, "--json"], redirection))


def test_output_that_cannot_be_written_is_exit_5_without_a_buffer(picture: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    words = ["predict", str(picture), "--model", str(DENSE)]
    for more in ([], ["--json"]):
        assert_output_error(start([*words, *more], ">/dev/full", env=environment))
    assert_output_error(start(["--version"], ">/dev/full", env=environment), "The system refused: ")


def test_a_failed_command_whose_json_cannot_be_written_is_exit_5_and_names_both_errors(picture: Path) -> None:
    done = start(["predict", str(picture), "--model", "/nowhere/no.tflite", "--json"], ">/dev/full")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 5
    assert [line.split()[1] for line in lines if line.startswith("mnist-edge: ")] == ["There", "The"]
    assert len(lines) == 4


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2</dev/null"])
def test_messages_that_cannot_be_written_change_no_exit_code(redirection: str, picture: Path) -> None:
    right = start(["predict", str(picture), "--model", str(DENSE), "--json"], redirection)
    assert right.returncode == 0
    assert json.loads(right.stdout)["predictions"]
    wrong = start(["predict", str(picture), "--model", "/nowhere/no.tflite", "--json"], redirection)
    assert wrong.returncode == 2
    assert json.loads(wrong.stdout)["error"]["code"] == 2


def test_an_opened_file_does_not_replace_a_closed_standard_stream() -> None:
    code = (
        "import os, sys\nfrom mnist_edge.cli import main\nmain(['info', sys.argv[1], '--json'])\n"
        "handle = os.open('/dev/null', os.O_RDONLY)\nprint(handle)"
    )
    command = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", code, str(DENSE)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=SECONDS)
    assert int(done.stdout.splitlines()[-1]) > 2


@pytest.mark.parametrize("last", ["", "--json"])
def test_a_closed_pipe_is_no_error_and_hides_no_error(last: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as stdout:
        done = start(["info", str(DENSE), *last.split()], stdout=stdout)
        assert (done.returncode, done.stderr) == (0, b"")
        (tmp_path / "bad.tflite").write_bytes(b"text")
        done = start(["info", str(tmp_path / "bad.tflite"), *last.split()], stdout=stdout)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 2


def test_names_are_shown_escaped_and_are_exact_in_json(tmp_path: Path, picture: Path, cli: Callable[..., Run]) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(picture, folder / NAME)
    (folder / f"cut {NAME}").write_bytes(picture.read_bytes()[:50])
    run = cli("predict", folder, "--model", DENSE)
    assert run.code == 4
    for text in (run.out, run.err):
        assert all(line.isprintable() for line in text.splitlines())
        assert not any(line.startswith("mnist-edge: all is well") for line in text.splitlines())
    assert printable(NAME) in run.out
    assert {
        Path(row["path"]).name for row in cli("predict", folder, "--model", DENSE, "--json").json["predictions"]
    } == {
        NAME,
        f"cut {NAME}",
    }


def test_an_unknown_command_or_option_with_a_hostile_name_is_two_printable_lines(cli: Callable[..., Run]) -> None:
    for words in (
        ["predikt\x1b[2J\n"],
        ["predict", "--modl\x1b[2J\nx"],
        ["bench", "--engine", "lite\x1b[2J\nrt", DENSE],
    ):
        run = cli(*words)
        assert_two_lines(run, 2)
        assert all(line.isprintable() for line in run.err.splitlines())


def test_printable_escapes_terminal_commands_and_nothing_else() -> None:
    assert printable("drei 数字 é  x") == "drei 数字 é  x"
    assert printable("a\x1b[31m\r\n\t\x7f\x9b\u202e") == r"a\x1b[31m\r\n\t\x7f\x9b\u202e"
    assert printable(os.fsdecode(b"ws\xff")) == r"ws\xff"


def special_files(folder: Path) -> list[Path]:
    os.mkfifo(folder / "fifo.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.png"))
    return sorted(folder.iterdir())


def test_special_files_in_a_folder_of_pictures_are_skipped(tmp_path: Path, picture: Path) -> None:
    special_files(tmp_path)
    shutil.copy(picture, tmp_path / "real.png")
    (tmp_path / "link.png").symlink_to(picture)
    (tmp_path / "nothing.png").symlink_to(tmp_path / "gone")
    found = [Path(name).name for name in find_pictures([str(tmp_path)])]
    assert found == ["link.png", "nothing.png", "real.png"]


def test_a_special_file_named_as_picture_or_model_is_refused_at_once(
    tmp_path: Path, picture: Path, cli: Callable[..., Run]
) -> None:
    os.mkfifo(tmp_path / "fifo.tflite")
    (tmp_path / "zero.tflite").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "fifo.png")
    for name in ("fifo.tflite", "zero.tflite"):
        for words in (["predict", picture, "--model", tmp_path / name], ["info", tmp_path / name]):
            run = cli(*words)
            assert_two_lines(run, 2)
            assert "not a regular file" in run.err
    run = cli("predict", tmp_path / "fifo.png", "--model", DENSE)
    assert_two_lines(run, 4)
    assert "not a regular file" in run.err


def test_only_regular_files_are_read_or_hashed_and_no_more_than_the_limit(tmp_path: Path) -> None:
    for path in special_files(tmp_path):
        for read in (files.read_bytes, manifest.sha256_of_file):
            with pytest.raises(UsageError, match=r"not a regular file|a folder"):
                read(path)
    (tmp_path / "file").write_bytes(bytes(1000))
    assert files.read_bytes(tmp_path / "file", 1000) == bytes(1000)
    with pytest.raises(ContentError, match="more than"):
        files.read_bytes(tmp_path / "file", 999)
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ContentError, match="more than"):
        files.read_bytes(tmp_path / "sparse", 1 << 20)
    if Path("/proc/self/maps").exists():  # a regular file without a size
        assert files.read_bytes(Path("/proc/self/maps"))


def test_an_endless_stream_on_standard_input_is_exit_4() -> None:
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123
        done = start(["predict", "-", "--model", str(DENSE)], stdin=endless)
    assert done.returncode == 4, done.stderr
    assert b"Standard input has more than 256 MiB" in done.stderr
    assert start(["predict", "-", "--model", str(DENSE)], "<&-").returncode == 4


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A workspace whose name is not UTF-8, with the shipped models."""
    path = tmp_path / os.fsdecode(b"ws\xff")
    try:
        shutil.copytree(SHIPPED, path)
    except OSError:
        unavailable("a file system that takes any name")
    return path


def test_a_workspace_whose_name_is_not_utf_8_works(latin: Path, picture: Path, tmp_path: Path) -> None:
    file = latin / "dense" / "dense-int8.tflite"
    mine = latin / os.fsdecode(b"\xe9.png")
    shutil.copy(picture, mine)
    for words in (
        ["predict", str(mine), "-o", str(latin), "--model", "dense"],
        ["info", str(file)],
        ["verify", "--selftest", str(file)],
        ["bench", str(file), "--engine", "litert", "--seconds", "0", "--count", "5", "--processes", "1"],
    ):
        done = start(words)
        assert done.returncode == 0, done.stderr
        done.stdout.decode("utf-8")
        if words[0] != "verify":
            assert rb"ws\xff" in done.stdout
        done = start([*words, "--json"])
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()
        assert b"Traceback" not in done.stderr
        if words[0] == "predict":
            value = json.loads(done.stdout)
            assert os.fsencode(value["model"]) == os.fsencode(file)
            assert os.fsencode(value["predictions"][0]["path"]) == os.fsencode(mine)
    assert golden_path(file).is_file()


def test_reports_of_a_workspace_whose_name_is_not_utf_8_are_utf_8(latin: Path, tmp_path: Path, mnist: object) -> None:
    options = {
        option: tmp_path / f"report{option}" for option in ("--markdown", "--junit", "--benchmark-json", "--report")
    }
    words = ["verify", latin / "dense" / "dense-int8.tflite", "--engine", "litert"]
    done = start([str(word) for word in (*words, *(part for pair in options.items() for part in pair))])
    assert done.returncode in (0, 1), done.stderr
    for path in options.values():
        assert path.read_text("utf-8")


def test_text_with_a_name_that_is_not_utf_8_is_written_as_utf_8() -> None:
    assert files.utf8(f"a\n{os.fsdecode(b'ws')}\n") == b"a\nws\n"
    assert files.utf8(f"a\n\t数{os.fsdecode(b'ws%cx' % 255)}\n").decode() == "a\n\t数ws\\xffx\n"


def test_cells_of_a_table_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("", "file", ">n")
    made.add_row(f"{NAME}{os.fsdecode(b'%c' % 255)}", "1")
    assert Output("info").result({}, made) == 0
    shown = capsys.readouterr().out
    assert r"evil\x1b[31m\nmnist-edge: all is well\u202e.png\xff" in shown
    assert all(line.isprintable() for line in shown.splitlines())
