"""The figures in README, docs/performance.md and the model cards, against the manifests of the shipped models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mnist_edge.formats import tflite
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import INT8_BYTES_FLOOR, ROOT

PAGE_COLUMNS = ("file", "bytes", "floor", "engine", "accuracy", "float", "drop pp, 95 %")
CARD_COLUMNS = ("file", "bytes", "SHA-256", "engine", "accuracy", "drop, 95 % interval (pp)", "verdict")
SEEDS_COLUMNS = ("model", "seeds", "int8, litert %", "int8, tflite-runtime %")
CORRUPTION_COLUMNS = ("corruption", "cnn best, seed 0", "cnn tutorial, seed 0")
NATIVE = ROOT / "benchmarks" / "results" / "native.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
TRAINING = ROOT / "benchmarks" / "results" / "training.md"
MODELS = ("dense", "cnn")


def table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of the only Markdown table with these columns, others allowed. An empty cell repeats the one above."""
    lines = path.read_text().splitlines()
    starts = [at for at, line in enumerate(lines) if set(columns) <= set(cells(line))]
    assert len(starts) == 1, f"{path.name} has {len(starts)} tables with the columns {columns}"
    rows: list[dict[str, str]] = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        row = dict(zip(cells(lines[starts[0]]), cells(line), strict=True))
        rows.append({name: cell or rows[-1][name] for name, cell in row.items()})
    return rows


def cells(line: str) -> list[str]:
    """The cells of a table's line, without backticks."""
    return [cell.strip() for cell in line.replace("`", "").strip().strip("|").split("|")] if line[:1] == "|" else []


def numbers(text: str) -> list[float]:
    """All numbers in a text, without thousands separators: ``+0.03 (-0.01 to +0.09)`` has three."""
    return [float(word) for word in re.findall(r"[+-]?\d+(?:\.\d+)?", text.replace(",", ""))]


def entries(model: str) -> dict[str, dict[str, Any]]:
    """Manifest entries of a shipped model's files, by name."""
    return {name: entry for name, entry in Manifest.load(SHIPPED / model).files.items() if "verdict" in entry}


def verdicts() -> dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]]:
    """Entry and verdict by file and engine, of all shipped files."""
    return {
        (name, result["engine"]): (entry, result)
        for model in MODELS
        for name, entry in entries(model).items()
        for result in entry["verdict"]["results"]
    }


def assert_drop(text: str, result: dict[str, Any]) -> None:
    assert numbers(text) == [round(value, 2) for value in (result["drop_pp"], *result["drop_ci95_pp"])]


def test_the_performance_page_lists_every_shipped_file_on_every_engine_as_the_manifests_do() -> None:
    found = {}
    for row in table(PERFORMANCE, PAGE_COLUMNS):
        for engine in row["engine"].split(", "):
            found[row["file"], engine] = row
    expected = verdicts()
    assert set(found) == set(expected)
    for key, (entry, result) in expected.items():
        row = found[key]
        assert numbers(row["bytes"]) == [entry["size_bytes"]], key
        assert numbers(row["floor"]) == [INT8_BYTES_FLOOR[entry["model"]]], key
        assert numbers(row["accuracy"]) == [round(100 * result["accuracy"], 2)], key
        assert numbers(row["float"]) == [round(100 * result["reference_accuracy"], 2)], key
        assert_drop(row["drop pp, 95 %"], result)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_card_says_what_its_manifest_says(model: str) -> None:
    card = SHIPPED / model / "MODEL_CARD.md"
    rows = {(row["file"], row["engine"]): row for row in table(card, CARD_COLUMNS)}
    expected = {key: value for key, value in verdicts().items() if value[0]["model"] == model}
    assert set(rows) == set(expected)
    for key, (entry, result) in expected.items():
        row = rows[key]
        assert numbers(row["bytes"]) == [entry["size_bytes"]], key
        assert row["SHA-256"] == entry["sha256"], key
        assert numbers(row["accuracy"]) == [round(100 * result["accuracy"], 2)], key
        assert_drop(row["drop, 95 % interval (pp)"], result)
        assert row["verdict"] == ("passed" if result["passed"] else "failed"), key
    trained = entries(model)[f"{model}-int8.tflite"]["trained"]
    text = card.read_text()
    assert f"{trained['parameters']:,} parameters" in text
    assert f"Float model: {trained['test']['correct'] / trained['test']['n']:.2%}" in text
    assert f"{trained['made_by']['recipe']['epochs']} epochs, {trained['seconds']:,.0f} s" in text


@pytest.mark.parametrize("model", MODELS)
def test_a_model_card_says_what_the_results_say_of_several_seeds(model: str) -> None:
    row = next(row for row in table(TRAINING, SEEDS_COLUMNS) if row["model"] == model)
    text = (SHIPPED / model / "MODEL_CARD.md").read_text()
    for engine in ("litert", "tflite-runtime"):
        found = re.findall(rf"(\d+) seeds, int8 TFLite on {engine}: ([\d.]+) \+/- ([\d.]+) %", text)
        assert found == [(row["seeds"], *row[f"int8, {engine} %"].split(" ± "))], engine


def test_the_mean_over_corruptions_is_that_of_the_rows() -> None:
    *rows, mean = table(TRAINING, CORRUPTION_COLUMNS)
    assert (len(rows), mean["corruption"]) == (15, "mean")
    for column in set(mean) - {"corruption"}:
        values = [float(row[column]) for row in rows]
        assert float(mean[column]) == pytest.approx(sum(values) / len(values), abs=0.011), column


@pytest.mark.parametrize("model", MODELS)
def test_a_manifest_gives_the_size_of_the_file_and_the_floor_is_the_size_of_its_weights(model: str) -> None:
    for name, entry in entries(model).items():
        assert (SHIPPED / model / name).stat().st_size == entry["size_bytes"], name
    file = tflite.read((SHIPPED / model / f"{model}-int8.tflite").read_bytes())
    # Only weights and biases count, not the constant shape of a Reshape.
    read = {name for op in file.ops if op.kind in ("CONV_2D", "FULLY_CONNECTED") for name in op.inputs[1:]}
    assert sum(tensor.size_bytes or 0 for tensor in file.tensors if tensor.name in read) == INT8_BYTES_FLOOR[model]


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_file_that_a_page_links_to_exists(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
    assert links or page == "CHANGELOG.md"
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_tells_size_and_accuracy_of_the_shipped_cnn_as_its_manifest_does() -> None:
    entry, result = verdicts()["cnn-int8.tflite", "litert"]
    told = f"has {entry['size_bytes']:,} bytes and {result['accuracy']:.2%} accuracy, the float model"
    assert f"{told} {result['reference_accuracy']:.2%}." in (ROOT / "README.md").read_text().replace(" %", "%")


def native_ratios() -> dict[tuple[str, str, str], float]:
    """From native.md, for one image: how many times as long as C an engine takes, by instructions, model and engine."""
    ratios: dict[tuple[str, str, str], float] = {}
    for section in NATIVE.read_text().split("\n## ")[1:]:
        for line in section.split("### One image, one thread")[1].split("\n### ")[0].splitlines():
            if line.startswith("| `"):
                model, engine, _, ratio = cells(line)
                ratios[section.partition("\n")[0], model, engine] = numbers(ratio)[0]
    return ratios


def test_the_page_about_c_tells_the_ratios_of_the_results() -> None:
    ratios = native_ratios()
    rows = table(ROOT / "docs" / "microcontrollers.md", ("instructions", "LiteRT, cnn", "ONNX Runtime, dense"))
    assert [row["instructions"] for row in rows] == ["AVX512-VNNI", "AVX-VNNI", "AVX2", "No AVX2"]
    for row in rows:
        for engine, name in (("LiteRT", "litert"), ("ONNX Runtime", "onnxruntime")):
            for model in ("cnn", "dense"):
                expected = ratios[row["instructions"], model, f"{name}, directly"]
                assert numbers(row[f"{engine}, {model}"]) == [pytest.approx(expected, abs=0.0501)]
    told = f"takes LiteRT {ratios['AVX512-VNNI', 'cnn', 'litert, directly']:.1f} times as long"
    assert told in (ROOT / "README.md").read_text()


def counts() -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / "instructions.json").read_text())


def test_the_pages_counts_of_instructions_are_those_of_the_results() -> None:
    found, columns = counts(), {"LiteRT": "litert", "tflite-runtime": "tflite-runtime", "ONNX Runtime": "onnxruntime"}
    for row in table(PERFORMANCE, ("processor", "model", "generated C", "LiteRT")):
        cpu, model = row["processor"].partition(" ")[0].lower(), row["model"]
        expected = {"generated C": found["counts"][cpu][model]["digits"]["all"]}
        peers = found["engines"]["counts"][cpu][model]["digits"]
        expected |= {column: peers[engine]["engine"] for column, engine in columns.items()}
        for column, count in expected.items():
            assert row[column] == f"{count / 1000:,.{0 if model == 'cnn' else 1}f}", (cpu, model, column)


def test_the_pages_comparison_with_cmsis_nn_is_that_of_the_results() -> None:
    found = counts()
    for row in table(ROOT / "docs" / "microcontrollers.md", ("processor", "model", "generated C", "CMSIS-NN", "ratio")):
        name, model = row["processor"].lower(), row["model"]
        own = [found["counts"][f"{name} -O3"][model][kind]["all"] for kind in ("digits", "noise")]
        peer = [found["cmsis_nn"]["counts"][name][model][kind]["all"] for kind in ("digits", "noise")]
        assert numbers(row["generated C"]) == [round(count / 1000) for count in own]
        assert numbers(row["CMSIS-NN"]) == [round(count / 1000) for count in peer]
        assert numbers(row["ratio"]) == [round(theirs / ours, 2) for ours, theirs in zip(own, peer, strict=True)]


def test_the_table_of_weights_of_four_bits_is_that_of_the_results() -> None:
    documented = table(ROOT / "docs" / "microcontrollers.md", ("net (recipe best)", "weights", "RAM and stack"))
    measured = [
        row for row in table(ROOT / "benchmarks" / "results" / "int4.md", ("net", "layers with 4 bits"))
        if row["net"].endswith("recipe best")
    ]  # fmt: skip
    for row, wanted in zip(documented, measured, strict=True):
        assert row["net (recipe best)"] == wanted["net"].partition(",")[0]
        layers = row["weights"].removeprefix("4 bits in ").replace(" and ", ", ")
        assert layers == (wanted["layers with 4 bits"] if wanted["bits"] != "8" else "8 bits")
        assert numbers(row["accuracy: float, C"]) == [float(wanted["float %"]), float(wanted["C %"])]
        assert row["verdict"] == wanted["verdict"].partition(":")[0]
        assert [row["flash"], row["RAM and stack"]] == [wanted["flash"], wanted["RAM"]]
        assert row["instructions, thousands"] == wanted["instructions"]
