"""Reports of ``verify`` and ``evaluate``: Markdown, JUnit, JSON and HTML; self-tests, layer errors, other kernels."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mnist_edge import data, runtime
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity.layers import layer_errors
from mnist_edge.runtime.selftest import Golden, choose, golden_path, run_selftest
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.model_file import ModelFile
from mnist_edge.workflows.export import ExportOptions, export
from tests.conftest import Run, assert_two_lines
from tests.project.test_conformance import SQNR_DB
from tests.support.browser import assert_accessible, browser, requests_of

# SQNR of one op alone, limited by rounding. A tensor of eight bits whose range is 8 times its RMS value has 41 dB (see
# SQNR_DB). An op rounds its input, its weights and its result; the weights of ONNX files have seven bits, four times
# the noise: 41 - 10 log10(1 + 4 + 1) = 33 dB. In steps of the result that is a standard deviation of sqrt(6 / 12) =
# 0.7, and the largest error of a million values is about five of these.
ALONE_DB, ALONE_STEPS = 32.0, 4


def least_cosine(sqnr_db: float) -> float:
    """The cosine between a signal and the signal plus noise that is orthogonal to it."""
    return float(np.sqrt(1 - 10 ** (-sqnr_db / 10)))


@pytest.fixture
def copy(workspace: Path, tmp_path: Path) -> Path:
    shutil.copytree(workspace / "dense", tmp_path / "dense")
    return tmp_path / "dense"


def test_every_output_format_says_the_same(copy: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    out = {name: tmp_path / name for name in ("v.md", "v.xml", "v.bench.json", "v.html", "summary")}
    run = cli(
        "verify", copy, "--json", "--layers", "--markdown", out["v.md"], "--junit", out["v.xml"],
        "--benchmark-json", out["v.bench.json"], "--report", out["v.html"],
        env={"GITHUB_STEP_SUMMARY": str(out["summary"])},
    )  # fmt: skip
    assert run.code == 0, run.err
    results = run.json["results"]
    table = out["v.md"].read_text()
    assert out["summary"].read_text() == table
    assert table.count("| passed |") == len(results) == 6
    suite = ElementTree.parse(out["v.xml"]).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("6", "0")
    rows = json.loads(out["v.bench.json"].read_text())
    assert len(rows) == 1 + 6 * len(results)
    assert sum(row["name"].endswith(": Brier score") for row in rows) == len(results)
    assert all(set(row) == {"name", "unit", "value"} for row in rows)
    kernels = {(Path(item["path"]).name, item["other"]) for item in run.json["kernels"]}
    assert ("dense-int8.tflite", "litert-reference") in kernels
    assert ("dense-int8.tflite", "litert-builtin") in kernels
    assert ("dense-int8.tflite", "tflite-runtime") in kernels
    page = out["v.html"].read_text()
    assert "Quantization error by op: " in page
    found = {item.get("value") for item in suite.iterfind(".//property[@name='brier_increase']")}
    assert found == {f"{item['brier_increase']:.6f}" for item in results}
    for item in results:
        cell = f"{item['brier']:.4f} ({item['brier_increase']:+.4f})"
        assert f"| {cell} | {item['probability_distance']:.2%} |" in table
        assert f"<td>{cell}</td>" in page
        assert f"<td>{item['mcnemar_p']:.3g}</td>" in page
        assert item["changes"] is None or len(item["changes"]["confusion_after"]) == 10
        assert item["detectable_drop_pp"] > 0


def test_a_failed_verdict_fails_in_every_format(copy: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    """One of two files answers with two classes exchanged: every format names that file, its rule and the reason."""
    from tests.parity.test_mutations import Edit, swapped

    edit = Edit(copy / "dense-int8.onnx")
    swapped(edit)
    edit.save()
    out = {name: tmp_path / name for name in ("v.md", "v.xml", "v.bench.json", "v.html")}
    run = cli(
        "verify", edit.path, copy / "dense-int8.tflite", "--trust", "--json", "--markdown", out["v.md"],
        "--junit", out["v.xml"], "--benchmark-json", out["v.bench.json"], "--report", out["v.html"],
    )  # fmt: skip
    assert run.code == 1
    assert run.json["error"]["code"] == 1
    by_name = {(Path(item["path"]).name, item["engine"]): item for item in run.json["results"]}
    failed = by_name["dense-int8.onnx", "onnxruntime"]
    assert [key for key, item in by_name.items() if not item["passed"]] == [("dense-int8.onnx", "onnxruntime")]
    assert failed["rule"] not in ("non-inferior", "undecidable")
    assert failed["verdict"].startswith("Failed (")
    table = out["v.md"].read_text()
    assert table.startswith("### Quantized against float: **failed**\n")
    rows = {
        tuple(cell.strip(" `") for cell in line.split("|")[1:3]): line for line in table.splitlines() if "|" in line
    }
    assert {key for key in by_name if "**failed**" in rows[key]} == {("dense-int8.onnx", "onnxruntime")}
    assert f"**failed** ({failed['rule']})" in rows["dense-int8.onnx", "onnxruntime"]
    assert failed["verdict"] in table
    suite = ElementTree.parse(out["v.xml"]).getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(len(by_name)), "1")
    (case,) = (case for case in suite.iter("testcase") if case.find("failure") is not None)
    assert (case.get("name"), case.get("classname")) == ("dense-int8.onnx", "mnist-edge.onnxruntime")
    failure = case.find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == (failed["rule"], failed["verdict"])
    values = {row["name"]: row["value"] for row in json.loads(out["v.bench.json"].read_text())}
    assert values["dense-int8.onnx on onnxruntime: drop"] == pytest.approx(failed["drop_pp"])
    assert failed["drop_pp"] > 10
    assert values["dense-int8.onnx on onnxruntime: changed answers"] == pytest.approx(100 * (1 - failed["agreement"]))
    assert html.escape(failed["verdict"]) in out["v.html"].read_text()


def test_an_undecidable_verdict_fails_and_names_the_images_that_would_decide(
    copy: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    # 0.01 pp needs 29,956 images, and the test set has 10,000.
    words = ("verify", copy / "dense-int8.onnx", "--max-drop-pp", "0.01", "--junit", tmp_path / "v.xml")
    assert_two_lines(run := cli(*words), 1)
    assert "would decide" in run.err
    failure = ElementTree.parse(tmp_path / "v.xml").getroot().find(".//failure")
    assert failure is not None
    assert failure.get("type") == "undecidable"


def test_a_baseline_catches_what_became_worse(copy: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    stored = tmp_path / "baseline.json"
    first = cli("verify", copy / "dense-int8.tflite", copy / "dense-int8.onnx", "--json")
    stored.write_text(first.out)
    assert cli("verify", copy, "--baseline", stored).code == 0
    gone = cli("verify", copy / "dense-int8.tflite", "--baseline", stored)
    assert_two_lines(gone, 1)
    assert "was not verified now" in gone.err
    value = json.loads(first.out)
    for item in value["results"]:
        item["accuracy"] += 0.002
    stored.write_text(json.dumps(value))
    fell = cli("verify", copy, "--baseline", stored, "--json")
    assert fell.code == 1
    assert "fell by 0.20 pp" in fell.json["regressions"][0]
    assert cli("verify", copy, "--baseline", stored, "--max-regression-pp", "0.3").code == 0
    stored.write_text("{}")
    assert_two_lines(cli("verify", copy, "--baseline", stored), 4)


def test_the_selftest_needs_no_data_and_finds_a_damaged_file(
    copy: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    from tests.parity.test_mutations import Edit, swapped

    offline = {"XDG_CACHE_HOME": str(tmp_path / "nothing"), "PATH": "", "https_proxy": "http://127.0.0.1:9"}
    (copy / "reference.npz").rename(copy / "away")
    run = cli("verify", copy, "--selftest", "--json", env=offline)
    assert run.code == 0, run.err
    assert [item["n"] for item in run.json["selftests"]] == [64] * 4
    for engine in ("litert", "tflite-runtime", "litert-reference", "litert-builtin"):
        tested = cli("verify", copy / "dense-int8.tflite", "--selftest", "--engine", engine, env=offline)
        assert tested.code == 0, tested.out + tested.err
    for suffix in (".tflite", ".onnx"):
        edit = Edit(copy / f"dense-int8{suffix}")
        swapped(edit)
        edit.save()
        assert_two_lines(cli("verify", edit.path, "--selftest", env=offline), 4)
        assert_two_lines(cli("verify", edit.path, "--selftest", "--trust", env=offline), 1)
    golden_path(copy / "dense-float32.onnx").unlink()
    assert cli("verify", copy / "dense-float32.onnx", "--selftest", env=offline).code == 2


def test_the_golden_set_holds_every_class_and_the_smallest_margins(workspace: Path, mnist: data.Splits) -> None:
    reference = FloatAnswers.from_bytes((workspace / "cnn" / "reference.npz").read_bytes())
    validation = {image.tobytes() for image in mnist.validation.images}
    assert all(image.tobytes() in validation for image in reference.golden_images)
    assert set(reference.golden_probabilities.argmax(axis=1)) == set(range(10))
    top = np.sort(reference.golden_probabilities, axis=1)
    assert (top[:, -1] - top[:, -2] < 0.5).sum() > 30
    rows = choose(reference.probabilities, mnist.test.labels, 30)
    assert len(set(rows.tolist())) == 30


def test_a_nan_fails_the_selftest(workspace: Path, copy: Path) -> None:
    session = runtime.open_session(copy / "dense-float32.onnx")
    golden = Golden.from_bytes(golden_path(session.path).read_bytes())
    session.predict = lambda images: np.full((len(images), 10), np.nan, np.float32)  # type: ignore[method-assign]
    assert run_selftest(session).passed is False
    assert golden.tolerance < 0.01


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_layer_errors_find_the_layer_that_was_damaged(
    workspace: Path, tmp_path: Path, mnist: data.Splits, suffix: str
) -> None:
    from tests.parity.test_mutations import Edit

    shutil.copytree(workspace / "cnn", tmp_path / "cnn")
    path = tmp_path / "cnn" / f"cnn-int8{suffix}"
    images = mnist.validation.images
    before = layer_errors(ModelFile.open(path), images)
    sound = {item.layer: item for item in before if item.op.upper().startswith(("CONV", "FULLY", "GEMM"))}
    assert set(sound) == {"conv_1", "conv_2", "hidden", "probabilities"}
    for name in ("conv_1", "conv_2", "hidden"):
        error = sound[name]
        assert error.sqnr_db is not None
        assert error.sqnr_db > SQNR_DB["int8"]
        assert error.cosine > least_cosine(SQNR_DB["int8"])
        assert error.isolated_sqnr_db is not None
        assert error.isolated_sqnr_db > ALONE_DB
        assert error.scale is not None
        assert error.isolated_max_abs_error < ALONE_STEPS * error.scale
    pools = [item for item in before if item.op.upper().startswith("MAX")]
    assert len(pools) == 2
    for item in pools:  # a pool rounds only its input
        assert item.isolated_max_abs_error <= 0.501 * (item.scale or 0)
    edit = Edit(path)
    edit.parameters("conv_2", 1, lambda q, scale: (q, scale * np.where(np.arange(len(scale)) % 2, 3, 1)))
    edit.save()
    after = {item.tensor: item for item in layer_errors(ModelFile.open(path, trust=True), images)}
    worse = {item.layer: item.isolated_sqnr_db - after[item.tensor].isolated_sqnr_db for item in before  # type: ignore[operator]
             if item.isolated_sqnr_db is not None and after[item.tensor].isolated_sqnr_db is not None}  # fmt: skip
    assert max(worse, key=lambda layer: worse[layer]) == "conv_2"
    assert worse["conv_2"] > 10
    assert all(abs(worse[name]) < 1 for name in ("conv_1", "hidden"))


@pytest.mark.slow
def test_layer_errors_of_a_residual_net(slice_npz: Path, tmp_path: Path) -> None:
    """An addition reads two computed tensors; a batch norm folds into its convolution."""
    from mnist_edge import training
    from mnist_edge.models.backend import import_keras

    keras = import_keras()
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    y = layers.Conv2D(8, 3, padding="same", use_bias=False, name="branch")(x)
    y = layers.BatchNormalization(name="norm")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.DepthwiseConv2D(3, strides=2, name="depthwise")(layers.ReLU(name="relu")(x))
    x = layers.Dense(10, activation="softmax", name="answer")(layers.Flatten(name="flat")(x))
    keras.Model(image, x).save(tmp_path / "residual.keras")
    splits = data.load(slice_npz)
    config = training.configure(
        str(tmp_path / "residual.keras"), "tutorial", epochs=2, optimizer="adam", learning_rate=2e-3
    )
    training.train(config, splits, tmp_path / "residual")
    options = ExportOptions(model="residual", workspace=tmp_path, formats=("tflite", "onnx"), data=splits)
    assert export(options).failures == ()
    for suffix in (".tflite", ".onnx"):
        errors = layer_errors(
            ModelFile.open(tmp_path / "residual" / f"residual-int8{suffix}"), splits.validation.images
        )
        by_layer = {item.layer: item for item in errors}
        assert {"stem", "depthwise", "answer"} <= set(by_layer)
        assert "sum" in by_layer or "relu" in by_layer
        for item in errors:
            # Images beyond the range of the calibration images clip a few values. Refined logits far below the best
            # one clip often.
            if item.isolated_saturated > 1e-3:
                assert (item.layer, suffix) == ("answer", ".tflite"), item
                continue
            assert item.isolated_cosine > least_cosine(ALONE_DB), (suffix, item)
            assert item.isolated_sqnr_db is None or item.isolated_sqnr_db > ALONE_DB, (suffix, item)


def test_layers_without_a_float_export_are_a_usage_error(copy: Path, cli: Callable[..., Run]) -> None:
    (copy / "dense-float32.onnx").unlink()
    run = cli("verify", copy / "dense-int8.onnx", "--layers")
    assert_two_lines(run, 2)


def test_the_calibration_study_shows_a_verdict_per_draw(copy: Path, cli: Callable[..., Run]) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.glob("dense-*")}
    run = cli("export", "--model", "dense", "--format", "tflite", "-o", copy.parent, "--calibration-study", "--json")
    assert run.code == 0, run.err
    rows = {(row["images"], row["seed"]): row["result"] for row in run.json["study"]}
    assert list(rows) == [(images, seed) for images in (2, 8, 32, 128, 512, 2048) for seed in range(3)]
    # Each draw gives another file, so nearly all differences from the float model are distinct.
    assert len({row["changes"]["mean_abs_difference"] for row in rows.values()}) > 15
    few, many = ([rows[n, seed]["changes"]["max_abs_difference"] for seed in range(3)] for n in (2, 2048))
    assert np.median(few) > np.median(many)
    # 512 images of seed 0 are what `export` takes, so that row is the exported file's verdict.
    verdict = Manifest.load(copy).files["dense-int8.tflite"]["verdict"]["results"][0]
    for name in ("engine", "n", "agreement", "drop_pp", "flips"):
        assert rows[512, 0][name] == verdict[name], name
    assert before == {path: path.stat().st_mtime_ns for path in copy.glob("dense-*")}


@pytest.mark.slow
def test_an_evaluation_shows_all_mistakes(workspace: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    files = [workspace / "cnn" / "cnn-int8.tflite", workspace / "cnn" / "model.keras"]
    run = cli("evaluate", *files, "--report", tmp_path / "page.html", "--json")
    assert run.code == 0, run.err
    page = (tmp_path / "page.html").read_text()
    for item in run.json["results"]:
        assert len(item["mistakes"]) == item["n"] - item["correct"]
        assert np.trace(np.array(item["confusion"])) == item["correct"]
        assert f"{item['correct']:,} of 10,000 right" in page
    assert page.count("<li><img") == sum(len(item["mistakes"]) for item in run.json["results"])
    assert '="http' not in page


def test_the_report_in_a_browser(workspace: Path, tmp_path: Path, mnist: data.Splits) -> None:
    """The page makes no external request, violates no accessibility rule, and does not scroll sideways on a phone."""
    page = export(ExportOptions(model="cnn", workspace=workspace, formats=("tflite", "onnx"), data=mnist)).page
    assert page is not None
    for width, dark in ((1200, False), (390, False), (1200, True), (390, True)):
        with browser(tmp_path, width, dark) as driver:
            driver.get(page.as_uri())
            urls = requests_of(driver, page.as_uri())
            assert page.as_uri() in urls
            assert [url for url in urls if url != page.as_uri() and not url.startswith("data:")] == []
            assert_accessible(driver, width)
