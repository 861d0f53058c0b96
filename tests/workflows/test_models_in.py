"""Models of other tools: a PyTorch net as ONNX, a Keras model in HDF5, and an int8 TFLite file that somebody made."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import cli as program
from mnist_edge import data, models, training
from mnist_edge.conversion import c
from mnist_edge.data.load import ENVIRONMENT_VARIABLE
from mnist_edge.errors import ContentError, StageError, UsageError
from mnist_edge.formats import onnx as onnx_format
from mnist_edge.formats import tflite
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.int8.program import IntegerProgram
from mnist_edge.parity import Gate
from mnist_edge.results.precision import Precision
from mnist_edge.runtime import open_session
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.training import UnfitError
from mnist_edge.workflows import calibration_study, without_data
from mnist_edge.workflows.advice import advise
from mnist_edge.workflows.export import ExportOptions, export
from mnist_edge.workflows.held_out import Judging
from mnist_edge.workflows.verify import VerifyOptions, verify
from tests.conftest import ROOT
from tests.support import int8_nets
from tests.support.int8_nets import PATTERNS

PYTORCH = ROOT / "tests" / "support" / "pytorch_net.onnx"
DENSE = SHIPPED / "dense" / "dense-int8.tflite"


@pytest.fixture(scope="module")
def splits(mnist: data.Splits) -> data.Splits:
    """MNIST with 2,000 test images and 500 for validation, which take a moment on every engine."""
    test, validation = (
        data.Split(part.images[:size], part.labels[:size], part.indices[:size])
        for part, size in ((mnist.test, 2000), (mnist.validation, 500))
    )
    return replace(mnist, test=test, validation=validation)


def main(*words: object) -> int:
    return program.main(list(map(str, words)))


def test_a_net_of_pytorch_becomes_int8_onnx_and_passes_the_gate(splits: data.Splits, tmp_path: Path) -> None:
    shutil.copy(PYTORCH, tmp_path / "net.onnx")
    options = ExportOptions(model=str(tmp_path / "net.onnx"), workspace=tmp_path / "w", data=splits)
    result = export(options)
    assert (result.error, result.failures, result.trained) == (None, (), None)
    folder = tmp_path / "w" / "net"
    assert [Path(item.path) for item in result.artifacts] == [folder / "net-float32.onnx", folder / "net-int8.onnx"]
    answers = FloatAnswers.from_bytes((folder / REFERENCE_NAME).read_bytes()).probabilities
    assert (answers.argmax(axis=1) == splits.test.labels).mean() > 0.96
    plain, int8 = (open_session(Path(item.path)) for item in result.artifacts)
    assert plain.predict(splits.test.images[:50]) == pytest.approx(answers[:50], abs=1e-5)
    assert int8.contract.output == "logits"
    file = onnx_format.read(Path(result.artifacts[1].path).read_bytes())
    assert file.inputs[0].dtype == "uint8"
    assert file.inputs[0].shape == (-1, 28, 28, 1)
    assert {name.split("/")[0] for op in file.ops for name in op.outputs} >= {"0", "1", "4", "9"}
    assert result.artifacts[1].size_bytes < PYTORCH.stat().st_size / 2
    # The folder is a model's folder like any other: the model is found by its name, and nothing is made twice.
    again = export(replace(options, model="net"))
    assert [item.fresh for item in again.artifacts] == [False, False]
    verdicts = verify(VerifyOptions(models=(str(folder),), layers=True, data=splits)).verdicts
    assert [len(errors) > 3 for _, errors in verdicts.layers] == [True]


def test_the_calibration_study_takes_a_format_that_is_made_of_the_model(
    splits: data.Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_study, "STUDY", [(2, 0)])
    monkeypatch.setattr(calibration_study, "load_splits", lambda *_: splits)
    shutil.copy(PYTORCH, tmp_path / "net.onnx")
    options = ExportOptions(model=str(tmp_path / "net.onnx"), workspace=tmp_path / "w")
    (row,) = calibration_study.calibration_study(options)
    assert (row.images, row.seed, row.result.engine) == (2, 0, "onnxruntime")


def test_a_tflite_file_becomes_c_that_is_compared_with_it_or_with_its_float_model(
    splits: data.Splits, tmp_path: Path
) -> None:
    given = shutil.copy(DENSE, tmp_path / "given.tflite")
    options = ExportOptions(
        model=str(given), formats=("c",), backend="c99", workspace=tmp_path / "w", data=splits, engine="native"
    )
    result = export(options)
    assert (result.error, result.failures) == (None, ())
    (artifact,) = result.artifacts
    assert Path(artifact.path) == tmp_path / "w" / "given" / "given-int8.c"
    (report,) = artifact.parity
    assert (report.engine, report.agreement) == ("native", 1)
    expected = open_session(DENSE, "litert").predict(splits.test.images)
    stored = FloatAnswers.from_bytes((tmp_path / "w" / "given" / REFERENCE_NAME).read_bytes())
    assert np.abs(stored.probabilities - expected).max() < 0.01
    # No repair is suggested: the int8 file was made elsewhere.
    (advice,) = advise([Path(artifact.path)], splits, Judging(Gate(), "native"), [])
    assert advice.command is None
    # With a float model the verdict is about that model's answers.
    training.adopt(Path(given), splits, tmp_path / "w" / "given", PYTORCH)
    stored = FloatAnswers.from_bytes((tmp_path / "w" / "given" / REFERENCE_NAME).read_bytes())
    assert np.abs(stored.probabilities - expected).max() > 0.1


@pytest.mark.parametrize("name", ["autoencoder", "spectrogram", "float ends"])
def test_without_data_c_of_a_tflite_file_is_compared_with_the_file_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    run, sizes = IntegerProgram.run, []

    def counted(self: IntegerProgram, batch: NDArray[Any]) -> NDArray[Any]:
        sizes.append(len(batch))
        return run(self, batch)

    monkeypatch.setattr(IntegerProgram, "run", counted)
    (tmp_path / "net.tflite").write_bytes(int8_nets.float_ends() if name == "float ends" else PATTERNS[name]())
    words = ["export", "--model", tmp_path / "net.tflite", "--format", "c", "--backend", "c99", "-o", tmp_path]
    assert main(*words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    (artifact,) = result["artifacts"]
    assert (artifact["path"], artifact["fresh"], artifact["parity"]) == (str(tmp_path / "net/net-int8.c"), True, [])
    assert result["compared"] == without_data.INPUTS
    assert sizes == [1] * without_data.INPUTS  # one at a time, which takes little memory
    assert (tmp_path / "net" / "net-int8.h").is_file()
    assert main(*words, "--max-flash", 10) == 1
    said = capsys.readouterr()
    assert "bit for bit, on 50 random inputs" in said.out
    assert "bytes of flash; 10 are allowed" in said.err


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_c_of_a_file_of_features_has_a_verdict_on_its_features(dtype: type, tmp_path: Path) -> None:
    net = int8_nets.signed(1, 7)
    net.dense(3, int8_nets.NONE)
    net.softmax()
    (tmp_path / "net.tflite").write_bytes(net.content())
    features, labels = np.random.default_rng(0).normal(0, 30, (90, 7)).astype(dtype), np.arange(90) % 3
    parts = {"x_train": features[:60], "y_train": labels[:60], "x_test": features[60:], "y_test": labels[60:]}
    np.savez(tmp_path / "data.npz", **parts)
    result = export(
        ExportOptions(
            model=str(tmp_path / "net.tflite"), formats=("c",), backend="c99", workspace=tmp_path / "w",
            data=tmp_path / "data.npz",
        )
    )  # fmt: skip
    (artifact,) = result.artifacts
    (report,) = artifact.parity
    assert (result.failures, result.compared, report.agreement, report.rule) == ((), None, 1, "undecidable")


@pytest.fixture
def no_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An int8 TFLite file that does not classify MNIST's images, which is exported without data."""
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    net = int8_nets.signed(1, 7)
    net.dense(5, int8_nets.NONE)
    (tmp_path / "net.tflite").write_bytes(net.content())
    return tmp_path / "net.tflite"


def test_without_data_c_of_another_model_is_not_replaced(no_classifier: Path, tmp_path: Path) -> None:
    options = ExportOptions(model=str(no_classifier), formats=("c",), backend="c99", workspace=tmp_path / "w")
    content = no_classifier.read_bytes()
    for name, source, cause in (
        ("model.keras", b"weights", "holds a model of another kind, model.keras"),
        ("model.tflite", b"another file", "holds another model, model.tflite"),
        ("model.tflite", content, None),
    ):
        manifest = Manifest(tmp_path / "w" / "net")
        manifest.commit({name: (source, {"key": ""}), "net-int8.c": (b"int x;", {"key": ""})})
        if cause is None:
            assert export(options).error is None
            continue
        with pytest.raises(UsageError, match=cause) as caught:
            export(options)
        assert caught.value.remedy.startswith("Rename the file, after which its folder is named, or name another")
        assert (manifest.folder / "net-int8.c").read_bytes() == b"int x;"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--engine", "nonsense"], "There is no engine 'nonsense'."),
        (["--engine", "native"], "Without data there is no verdict, for which --engine would be used."),
        (["--until-pass"], "Without data there is no verdict, for which --until-pass would be used."),
        (["--max-drop-pp", 1], "Without data there is no verdict, for which a margin of the gate would be used."),
        (["--min-agreement", 0.9], "Without data there is no verdict, for which a margin of the gate would be used."),
    ],
)
def test_without_data_options_for_a_verdict_are_exit_2(
    words: list[object], cause: str, no_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("export", "--model", no_classifier, "-o", tmp_path / "w", *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"mnist-edge: {cause}"
    if "nonsense" not in words:
        assert lines[1:] == ["  remedy: Leave the option out, or name labelled data with --data."]
    assert not list((tmp_path / "w").glob("net/*.c"))


def test_export_without_data_is_a_remedy_only_if_nothing_but_the_data_prevents_it(
    splits: data.Splits, no_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ExportOptions(model=str(no_classifier), formats=("c",), workspace=tmp_path / "w", data=splits)
    digits = shutil.copy(DENSE, tmp_path / "digits.tflite")
    sentence = "Without --data, C of a TFLite file is compared with the file itself."
    without_options = (
        {"data": None, "build": True}, {"build": True}, {"reference": PYTORCH}, {"precision": Precision.FLOAT16},
    )  # fmt: skip

    def remedy(options: ExportOptions) -> str:
        return without_data.with_remedy(UnfitError("No.", "Name others."), options, options.model).remedy

    with pytest.raises(UnfitError, match="the data are") as caught:
        export(options)
    assert caught.value.remedy == f"Name the model's own data set with --data. {sentence}"
    with pytest.raises(UnfitError, match="the data are") as caught:
        export(replace(options, build=True))
    assert sentence not in caught.value.remedy
    assert remedy(options) == f"Name others. {sentence}"
    for changes in ({"model": str(digits)}, *without_options):
        assert remedy(replace(options, **changes)) == "Name others."
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path))
    assert remedy(options) == "Name others."


def test_c_that_differs_from_the_file_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    this, other = (int8_nets.signed(seed, 7) for seed in (1, 2))
    for net in (this, other):
        net.dense(5, int8_nets.NONE)
    (tmp_path / "net.tflite").write_bytes(this.content())
    text = c.from_tflite(other.content(), "net", backend="c99")
    monkeypatch.setattr(c, "from_tflite", lambda *_, **__: text)
    with pytest.raises(StageError, match="output values of the C differ from the integer reference engine's"):
        export(ExportOptions(model=str(tmp_path / "net.tflite"), formats=("c",), workspace=tmp_path / "w"))
    assert not list((tmp_path / "w").glob("net/*.c"))


def test_a_tflite_file_without_a_contract_is_verified_against_a_float_model_or_answers(
    splits: data.Splits, tmp_path: Path
) -> None:
    given = Path(shutil.copy(DENSE, tmp_path / "given.tflite"))
    answers = open_session(DENSE).predict(splits.test.images)
    np.savez(tmp_path / "answers.npz", probabilities=answers)
    np.savez(tmp_path / "short.npz", probabilities=answers[:9])

    def judged(reference: Path) -> bool:
        options = VerifyOptions(models=(str(given),), engine="litert", reference=reference, data=splits)
        return verify(options).error is None

    assert judged(tmp_path / "answers.npz")
    assert judged(DENSE)
    assert not judged(SHIPPED / "cnn" / "cnn-int8.tflite")  # another net, which is right more often
    with pytest.raises(ContentError, match=r"\(9, 10\) for 2,000 test images"):
        judged(tmp_path / "short.npz")
    with pytest.raises(UsageError, match="no float answers"):
        judged(tmp_path / "none.npz")
    with pytest.raises(UsageError, match="made on other test images"):  # on all 10,000
        judged(SHIPPED / "dense" / REFERENCE_NAME)


def test_a_keras_model_in_hdf5_is_adopted_like_a_keras_file(splits: data.Splits, tmp_path: Path) -> None:
    keras = models.backend.import_keras()
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(layers)
    model.save(tmp_path / "old.h5")
    training.adopt(tmp_path / "old.h5", splits, tmp_path / "old")
    manifest = Manifest.load(tmp_path / "old")
    assert set(manifest.files) == {KERAS_NAME, REFERENCE_NAME}
    again = models.load(tmp_path / "old" / KERAS_NAME)
    assert np.array_equal(models.outputs(again, splits.test.images[:9]), models.outputs(model, splits.test.images[:9]))
    with pytest.raises(UsageError, match=r"holds a model of another kind, model\.keras"):
        training.adopt(PYTORCH, splits, tmp_path / "old")


def test_a_lambda_in_hdf5_is_not_run(tmp_path: Path) -> None:
    keras = models.backend.import_keras()
    net = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x), keras.layers.Dense(3)]
    keras.Sequential(net).save(tmp_path / "code.h5")
    with pytest.raises(ContentError, match="Lambda layer"):
        models.load(tmp_path / "code.h5")


@pytest.mark.parametrize("name", ["net.h5", "net.onnx", "net.tflite"])
@pytest.mark.parametrize("content", [b"", b"nothing of this kind"])
def test_a_damaged_model_is_exit_4(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main("export", "--model", tmp_path / name, "-o", tmp_path / "w") == 4
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(" ...")]
    assert [line.split(": ")[0] for line in lines] == ["mnist-edge", "  remedy"], lines
    assert str(tmp_path / name) in lines[0]


@pytest.mark.parametrize(
    ("words", "cause", "remedy"),
    [
        (["net.onnx", "--format", "c"], "--format c is not made from an ONNX model", "--format onnx"),
        (["net.onnx", "--format", "tflite"], "--format tflite is not made from an ONNX model", "--format onnx"),
        (["net.tflite", "--format", "onnx"], "--format onnx is not made from a TFLite file", "--format c"),
        (["net.onnx", "--reference", "net.tflite"], "--reference is for a .tflite file", "Leave it out"),
        (["net.tflite", "--quantize", "float16"], "float16", "int8"),
        (["net.tflite", "--calibration-study", "--reference", "net.onnx"], "is calibrated already", "a float .onnx"),
        (["net.onnx", "--calibration-study", "--reference", "net.tflite"], "--reference is for a", "Leave it out"),
        (["net.onnx", "--calibration-study", "--until-pass"], "exports no file that --until-pass", "Leave out one"),
    ],
)
def test_what_cannot_be_made_of_a_model_is_exit_2_and_names_the_way_round(
    words: list[str], cause: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shutil.copy(PYTORCH, "net.onnx")
    shutil.copy(DENSE, "net.tflite")
    assert main("export", "--model", *words) == 2
    said = capsys.readouterr().err
    assert cause in said
    assert remedy in said
    assert "Traceback" not in said


def test_c_is_not_made_from_a_float_tflite_file(
    splits: data.Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    keras = models.backend.import_keras()
    import tensorflow as tf

    path = tmp_path / "float.tflite"
    for classes in (10, 3):  # the second one is no classifier of MNIST's images, and is exported without data
        model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(classes)])
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        assert not any(item.dtype == "int8" for item in tflite.read(path.read_bytes()).tensors)
        options = ExportOptions(model=str(path), workspace=tmp_path / "w", data=splits if classes == 10 else None)
        with pytest.raises(ContentError, match=r"float\.tflite is a float TFLite file") as caught:
            export(options)
        assert caught.value.remedy.startswith("Name the Keras model that it was made from")
