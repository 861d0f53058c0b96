"""Arguments for models: names, folders, files and workspaces mean the same in every command, and errors quote them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_edge import cli as program
from mnist_edge import training
from mnist_edge.cli import options
from mnist_edge.conversion import c
from mnist_edge.errors import UsageError
from mnist_edge.formats import foreign
from mnist_edge.runtime.exported import nothing_exported
from mnist_edge.runtime.selection import exported_in_place, folders_to_copy, pick_file, select, source_model
from mnist_edge.serving.models import Source
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED, folder_of, model_name, shown_path
from tests.conftest import Run, assert_two_lines

DENSE = "dense-int8.tflite"
TAKE_MODELS = ("predict", "watch", "info", "verify", "bench", "evaluate", "serve", "export", "train", "cross-validate",
               "sweep", "bundle")  # fmt: skip


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.fromarray(np.pad(np.full((20, 3), 255, np.uint8), ((4, 4), (13, 12)))).save(tmp_path / "one.png")
    return "one.png"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A workspace with a model whose name the package does not have: the shipped dense, called ``mine``."""
    shutil.copytree(SHIPPED / "dense", tmp_path / "w" / "mine")
    return tmp_path / "w"


def main(*words: object) -> int:
    return program.main(list(map(str, words)))


@pytest.mark.parametrize("command", TAKE_MODELS)
def test_the_help_of_every_command_that_takes_a_model_says_so_in_the_same_words(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(command, "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert options.MODEL_WORDS in shown or options.MODELS_WORDS in shown


@pytest.mark.parametrize("word", ["mine", "w/mine", f"w/mine/{DENSE}", "w"])
def test_a_name_a_folder_a_file_and_a_workspace_mean_the_same_model_in_every_command(
    word: str, own: Path, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["info", word], ["predict", picture, "--model", word], ["verify", word, "--selftest", "--engine", "litert"],
    ):  # fmt: skip
        assert main(*command, "-o", "w") == 0, capsys.readouterr().err
        assert DENSE in capsys.readouterr().out
    assert pick_file(own, word).name == DENSE
    assert Path(DENSE) in {Path(path.name) for path in select([word], own).files}
    assert [folder.name for folder in folders_to_copy(word, own)] == ["mine"]
    served = Source.of(own, "auto", (word,))
    assert served.names == ("dense-int8" if word.endswith(".tflite") else "mine",)
    assert served.pick(served.names[0]).name == DENSE


def test_two_models_are_not_served_under_one_name(own: Path) -> None:
    with pytest.raises(UsageError, match="as 'mine'"):
        Source.of(own, "auto", ("mine", "w"))


def test_a_path_comes_before_a_name_and_the_workspace_before_the_package(tmp_path: Path) -> None:
    assert pick_file(Path("artifacts"), "dense").parent == SHIPPED / "dense"
    shutil.copytree(SHIPPED / "dense", tmp_path / "artifacts" / "dense")
    assert pick_file(Path("artifacts"), "dense") == Path("artifacts") / "dense" / DENSE
    (tmp_path / "dense").mkdir()  # a folder of something else: it is no model's folder
    assert pick_file(Path("artifacts"), "dense") == Path("artifacts") / "dense" / DENSE
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense", dirs_exist_ok=True)
    assert pick_file(Path("artifacts"), "dense") == Path("dense") / DENSE


def test_a_workspace_of_several_models_does_not_select_one_file(own: Path) -> None:
    shutil.copytree(SHIPPED / "cnn", own / "cnn")
    with pytest.raises(UsageError, match="several models: cnn, mine") as caught:
        pick_file(own, "w")
    assert "w/cnn" in caught.value.remedy
    assert len(select(["w"], own).files) == 4


def test_info_and_evaluate_know_the_names_of_the_shipped_models(cli: Callable[..., Run], tmp_path: Path) -> None:
    run = cli("info", "cnn", cwd=tmp_path)
    assert run.code == 0, run.err
    assert run.out.startswith("cnn-int8.tflite in the wheel: tflite")
    assert len(select(["cnn"], Path("artifacts")).files) == 2


@pytest.mark.parametrize("words", [["verify", "cnn", "--selftest"], ["verify", "--selftest"], ["verify"], ["bench"]])
def test_without_a_workspace_verify_and_bench_suggest_shipped_models_and_on_a_device_no_export(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)  # as on a device: TensorFlow is not installed
    assert main(*words) == 2
    said = capsys.readouterr().err
    assert "export --" not in said
    assert said.rstrip().endswith(f"mnist-edge {' '.join(words)} --shipped")
    if "--selftest" in words:
        assert main(*words, "--shipped") == 0
        assert "passed" in capsys.readouterr().out


def test_a_name_that_no_model_has_is_answered_in_an_empty_workspace_by_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main("verify", "cnnn") == 2
    cause, remedy = capsys.readouterr().err.splitlines()
    assert cause == "mnist-edge: There is no file, folder or model 'cnnn', and no model in artifacts."
    assert "mnist-edge export --format all; or use the models in the wheel: " in remedy
    assert remedy.endswith("mnist-edge verify --shipped")
    (tmp_path / "cnnn.keras").touch()
    with pytest.raises(UsageError) as caught:
        select(["cnnn"], Path("artifacts"), shipped=False)
    assert caught.value.remedy.endswith("mnist-edge export --format all --model cnnn.keras")


def test_an_engine_without_a_file_is_answered_by_the_export_that_makes_one(
    own: Path, picture: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Manifest.load(own / "mine").commit({"model.keras": (b"weights", {"key": ""})})
    cause = "runs none of the files in {}, which are .onnx, .tflite: it needs a .c or .so file."
    for word, named in (("cnn", ["--model", "cnn"]), ("mine", ["--model", "mine", "-o", "w"])):
        assert main("predict", picture, "--engine", "native", "--model", word, *named[2:]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == f"mnist-edge: The engine native {cause.format(word)}"
        command = shlex.join(["mnist-edge", "export", "--format", "c", *named])
        wanted = f"Make one first: {command}; or name another --engine: litert, onnxruntime, tflite-runtime."
        assert lines[1:] == [f"  remedy: {wanted}"]
    assert main("verify", "cnn", "--shipped", "--engine", "native") == 2  # nothing can be exported into the package
    assert "remedy: Name another --engine: litert, onnxruntime" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)  # as on a device: TensorFlow is not installed
    assert main("predict", picture, "--engine", "native") == 2
    assert "from the machine that exports it with --format c, and name it; or name " in capsys.readouterr().err


def test_with_a_named_engine_a_file_that_it_runs_answers(own: Path) -> None:
    assert pick_file(own, "mine", "onnxruntime").name == "dense-int8.onnx"
    for name in ("litert", "litert-reference", "reference"):
        assert pick_file(own, "mine", name).name == DENSE
    with pytest.raises(UsageError, match="no engine 'litter'"):
        pick_file(own, "mine", "litter")


def test_the_suggestion_to_add_shipped_repeats_the_arguments_only_if_they_name_shipped_models(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Manifest(own / "art").save()
    for words, wanted in (
        (["verify", "w/art", "--selftest"], "verify --shipped"),
        (["verify", "--model", "art", "-o", "w"], "verify --shipped"),
        (["bench", "w", "--model", "art"], "bench --shipped"),
        (["verify", "--model", "cnn", "--selftest"], "verify --model cnn --selftest --shipped"),
    ):
        assert main(*words) == 2
        assert capsys.readouterr().err.rstrip().endswith(f"use the models in the wheel: mnist-edge {wanted}")


def test_the_option_shipped_accepts_only_names_of_shipped_models(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(own / "mine", own.parent / "cnn")
    assert main("verify", "cnn", "--shipped", "--selftest") == 0
    assert "cnn-int8.tflite" in capsys.readouterr().out
    assert main("verify", "w", "--shipped", "--selftest") == 2
    assert "no shipped model 'w'" in capsys.readouterr().err


def test_c_in_a_folder_is_left_out_if_there_is_no_compiler(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, name = Manifest.load(own / "mine"), "dense-int8.c"
    text = c.from_tflite((own / "mine" / DENSE).read_bytes(), "dense", backend="c99")
    manifest.commit({name: (text, {"format": "c", "quantization": "int8", "model": "dense"})})
    monkeypatch.setenv("PATH", str(tmp_path))
    for word in ("mine", "w/mine", "w"):
        assert main("verify", word, "--selftest", "-o", "w") == 0
        said = capsys.readouterr()
        assert f"Left out, no engine installed here runs them: {name}." in said.err
        assert DENSE in said.out
    for words in ([own / "mine" / name], ["mine", "--engine", "native"]):
        assert main("verify", *words, "--selftest", "-o", "w") == 3
        assert "There is no C compiler here." in capsys.readouterr().err
    manifest.files = {name: manifest.files[name]}
    manifest.save()
    assert select(["mine"], own).files == (own / "mine" / name,)  # there is no other file


def test_a_missing_picture_is_a_usage_error(picture: str, cli: Callable[..., Run], tmp_path: Path) -> None:
    for words in (["no.png"], [picture, "no.png"]):
        run = cli("predict", *words, cwd=tmp_path)
        assert_two_lines(run, 2)
        assert "There is no picture no.png." in run.err
        assert "whole PNG" not in run.err


def test_predict_prints_short_file_names_and_its_json_has_the_path(
    own: Path, picture: str, cli: Callable[..., Run], tmp_path: Path
) -> None:
    for words, end, path in (
        ([], "model cnn: cnn-int8.tflite in the wheel, ", SHIPPED / "cnn" / "cnn-int8.tflite"),
        (["-o", own, "--model", "mine"], f"model dense: {DENSE} in the workspace, ", own / "mine" / DENSE),
        (["--model", own / "mine" / DENSE], f"model dense: {DENSE}, ", own / "mine" / DENSE),
    ):
        run = cli("predict", picture, *words, cwd=tmp_path)
        assert run.out.splitlines()[1].startswith(end)
        assert str(path.parent) not in run.out
        assert cli("predict", picture, *words, "--json", cwd=tmp_path).json["model"] == str(path)


def test_a_table_shows_the_short_name_of_a_shipped_file_and_the_path_of_others(own: Path) -> None:
    assert shown_path(SHIPPED / "dense" / DENSE) == f"{DENSE} in the wheel"
    assert shown_path(own / "mine" / DENSE) == str(own / "mine" / DENSE)


FOREIGN = {
    "flat.h5": ("HDF5", "mnist-edge export --model flat.h5"),
    "saved": ("SavedModel", "mnist-edge export --format onnx --model saved"),
    "net.pt": ("PyTorch", "torch.onnx.export"),
    "net.pth": ("PyTorch", "torch.onnx.export"),
    "net.onnx": (".onnx file", "mnist-edge evaluate net.onnx"),
    "net.tflite": (".tflite file", "mnist-edge verify net.tflite --reference"),
}
# The commands that take the file; what they say of one that is damaged is tested where its format is.
TAKEN_BY = {
    "flat.h5": ("export", "train"), "saved": ("export",), "net.onnx": ("export",), "net.tflite": ("export",)
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_model_file_of_another_tool_is_recognized_and_its_remedy_helps(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what, remedy = FOREIGN[name]
    if name == "saved":
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    else:
        (tmp_path / name).touch()
    commands = [["export", "--model", name], ["train", "--model", name]]
    commands = [words for words in commands if words[0] not in TAKEN_BY.get(name, ())]
    if not name.endswith(("onnx", "tflite")):
        commands += [["info", name], ["verify", name], ["predict", ".", "--model", name]]
    for command in commands:
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "blank.png")
        assert main(*command) == 2
        said = capsys.readouterr().err
        assert what in said, command
        assert remedy in said, command


def test_a_keras_file_given_to_an_engine_is_to_be_exported_first(tmp_path: Path) -> None:
    (tmp_path / "my.keras").touch()
    with pytest.raises(UsageError) as caught:
        pick_file(Path("artifacts"), "my.keras")
    assert "mnist-edge export --model my.keras" in caught.value.remedy
    with pytest.raises(UsageError) as caught:
        pick_file(Path("artifacts"), "my")
    assert "mnist-edge export --format all --model my.keras" in caught.value.remedy


def test_a_keras_file_selects_only_the_model_that_was_exported_from_the_same_content(own: Path, tmp_path: Path) -> None:
    folder = own / "mine"
    Manifest.load(folder).commit({"model.keras": (b"weights", {"key": ""})})
    (tmp_path / "elsewhere").mkdir()
    adopted, other = tmp_path / "elsewhere" / "mine.keras", tmp_path / "mine.keras"
    adopted.write_bytes(b"weights")
    other.write_bytes(b"other weights")
    assert pick_file(own, str(adopted)) == folder / DENSE
    assert pick_file(own, "w/mine/model.keras") == pick_file(Path("v"), "w/mine/model.keras") == Path("w/mine") / DENSE
    with pytest.raises(UsageError, match="is a Keras model"):
        pick_file(own, "mine.keras")


def test_commands_for_files_of_other_tools_are_quoted_for_a_shell(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").touch()
    remedy = foreign.not_a_keras_model(Path("net.tflite")).remedy
    command = re.search(r"mnist-edge verify .*", remedy)
    assert command is not None
    assert command[0] == "mnist-edge verify net.tflite --reference FILE"
    name = 'my "best" model\'s weights'
    (tmp_path / name).mkdir()
    (tmp_path / name / "saved_model.pb").touch()
    export, _, save = foreign.unknown_file(Path(name)).remedy.partition("; or")
    assert shlex.split(export)[-1] == name
    assert shlex.split(save.rpartition(": ")[2])[-1] == f"{name}.keras"
    remedy = foreign.unknown_file(Path(f"{name}.h5")).remedy
    assert shlex.split(remedy.partition(": ")[2])[-1] == f"{name}.h5"


def test_export_is_not_suggested_if_there_is_no_keras_model_of_that_name(own: Path) -> None:
    for name in ("dense", "nothing"):  # dense is built in: export trains it
        Manifest(own / name).save()
        with pytest.raises(UsageError, match="no exported file") as caught:
            select([name], own, shipped=False)
        assert ("mnist-edge export" in caught.value.remedy) == (name == "dense")
    Manifest.load(own / "nothing").commit({"model.keras": (b"weights", {"key": ""})})
    with pytest.raises(UsageError) as caught:
        select(["nothing"], own, shipped=False)
    assert caught.value.remedy.endswith(f"mnist-edge export --format all --model nothing -o {own}")


def test_inside_a_model_folder_commands_name_the_model_and_its_workspace(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own / "net"
    Manifest(folder).commit({"model.keras": (b"weights", {"key": ""})})
    monkeypatch.chdir(folder)
    wanted = shlex.join(["mnist-edge", "export", "--format", "all", "--model", "net", "-o", str(own.resolve())])
    assert nothing_exported([Path()], ".").remedy.endswith(wanted)
    bundle = importlib.import_module("mnist_edge.bundling.bundle")  # the package has a function of the same name
    monkeypatch.setattr(bundle, "own_wheel", lambda given, _: given)
    monkeypatch.setattr(bundle, "download", lambda *_: None)
    archive = tmp_path / "bundle.tar.gz"
    with pytest.raises(UsageError, match="no int8 file") as caught:
        bundle.bundle("bookworm-arm64", archive, bundle.Contents(models=[Path()]))
    assert caught.value.remedy.endswith(wanted)
    monkeypatch.chdir(own / "mine")
    assert f"models/mine/{DENSE}" in bundle.bundle("bookworm-arm64", archive, bundle.Contents(models=[Path()]))
    (own / "mine" / "below").mkdir()
    monkeypatch.chdir(own / "mine" / "below")
    assert model_name("../model.keras") == "mine"


@pytest.fixture
def unexported(own: Path) -> Path:
    """The workspace `own`, in which a placeholder file stands for the trained model of ``mine``."""
    manifest = Manifest.load(own / "mine")
    manifest.commit({"model.keras": (b"weights", {"key": ""})})
    return own


@pytest.mark.parametrize("word", ["mine", "w/mine", "w/mine/model.keras", "w"])
def test_a_trained_model_is_exported_to_its_own_folder_however_the_user_names_it(word: str, unexported: Path) -> None:
    workspace = unexported if word == "mine" else Path("artifacts")
    where, model = exported_in_place(source_model(word, workspace, ["cnn", "dense"]), workspace)
    assert (where.resolve(), model) == (unexported.resolve(), "mine")
    # If the user names another workspace, the model is exported to that one, under the same name.
    if word != "mine":
        where, model = exported_in_place(source_model(word, Path("v"), ["cnn", "dense"]), Path("v"))
        assert (where, folder_of(where, model)) == (Path("v"), Path("v/mine"))


@pytest.mark.parametrize("command", ["train", "cross-validate", "sweep"])
@pytest.mark.parametrize("word", ["mine", "w/mine"])
def test_a_model_of_the_workspace_is_trained_further_by_its_name(
    command: str, word: str, unexported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def configure(model: str, *_: object, **__: object) -> None:
        begun.append(model)
        raise UsageError("This is as far as the test goes.", "")

    monkeypatch.setattr(training, "configure", configure)
    assert main(command, "--model", word, "-o", "w") == 2
    assert begun == ["w/mine/model.keras"]
    assert model_name(begun[0]) == "mine"
    assert folder_of(Path("w"), begun[0]) == Path("w/model")  # the model that it starts from is not replaced


def test_only_models_that_can_be_trained_or_exported_are_suggested(own: Path) -> None:
    for word in ("mine", "mines"):  # the folder has no model that its files are made from
        with pytest.raises(UsageError, match=f"There is no file, folder or model '{word}'") as caught:
            source_model(word, own, ["cnn", "dense"])
        assert caught.value.remedy == "Known: cnn, dense."
    Manifest.load(own / "mine").commit({"model.keras": (b"weights", {"key": ""})})
    with pytest.raises(UsageError) as caught:
        source_model("mines", own, ["cnn", "dense"])
    assert caught.value.remedy == "Did you mean 'mine'? Known: cnn, dense, mine."


def test_in_training_a_built_in_name_comes_before_a_folder_of_that_name(unexported: Path) -> None:
    (unexported / "mine").rename("cnn")
    assert source_model("cnn", Path("artifacts"), ["cnn"]) == "cnn"
    assert source_model("./cnn", Path("artifacts"), ["cnn"]) == "cnn/model.keras"
    with pytest.raises(UsageError, match="no file, folder or model 'cn'"):
        source_model("cn", Path("artifacts"), ["cnn"])


def test_suggested_commands_begin_with_what_called_the_program_and_work_when_pasted(tmp_path: Path) -> None:
    script = tmp_path / "my tools" / "mnist-edge"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom mnist_edge.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    root = Path(program.__file__).parent.parent.parent
    # Without the environment's own folder, as for a user who has not activated it.
    own, folders = str(Path(sys.executable).parent), os.environ["PATH"].split(os.pathsep)
    path_outside = os.pathsep.join(folder for folder in folders if folder != own)
    environment = {**os.environ, "PYTHONPATH": str(root), "PATH": path_outside}
    module = [sys.executable, "-m", "mnist_edge"]
    for called, shown, path in (
        ([str(script)], shlex.quote(str(script)), ""),
        (["mnist-edge"], "mnist-edge", f"{script.parent}:"),
        (module, shlex.join(module), ""),
    ):
        with_path = {**environment, "PATH": f"{path}{path_outside}"}
        words = [*called, "verify", "dense", "--selftest"]
        done = subprocess.run(words, env=with_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        command = re.search(r"use the models in the wheel: (.*)", done.stderr)
        assert command is not None
        assert command[1] == f"{shown} verify dense --selftest --shipped"
        pasted = subprocess.run(["sh", "-c", command[1]], env=with_path, capture_output=True, text=True, check=False)
        assert pasted.returncode == 0, pasted.stderr
