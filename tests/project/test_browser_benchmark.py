"""benchmarks/browser.py: its measurement, run by Node with contenders of known cost, and its table."""

from __future__ import annotations

import json
import shutil
import subprocess

from benchmarks import browser
from tests.conftest import ROOT, unavailable
from tests.project.test_figures import table

MEASURE = """
import { measure, split } from SCRIPT;
const seen = { quick: 0, slow: 0 }, order = [], deleted = [];
const contender = (name, ms, isAsync) => ({
  isAsync,
  inputs: (images) => images.map((image) => ({ image, delete: () => deleted.push(name) })),
  run: ({ image }) => {
    seen[name]++;
    order.push([name, image[0]]);
    for (const until = performance.now() + ms; performance.now() < until; );
    return isAsync ? Promise.resolve(image) : image;
  },
});
const pixels = new Uint8Array(3 * 28 * 28).map((_, at) => Math.floor(at / 784));
const contenders = { quick: contender("quick", 0.25, true), slow: contender("slow", 1, false) };
const times = await measure(contenders, split(pixels), { rounds: 20, least: 1, warmUp: 5 });
console.log(JSON.stringify({ times, seen, order, deleted }));
"""


def test_libraries_take_turns_and_each_call_is_timed() -> None:
    if shutil.which("node") is None:
        unavailable("node")
    script = MEASURE.replace("SCRIPT", json.dumps(browser.SCRIPT.as_uri()))
    words = ["node", "--input-type=module", "--eval", script]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert {name: len(values) for name, values in found["times"].items()} == {"quick": 20, "slow": 20}
    assert min(found["times"]["quick"]) >= 250
    assert min(found["times"]["slow"]) >= 1000
    assert found["seen"]["quick"] > found["seen"]["slow"] >= 20
    assert sorted(found["deleted"]) == ["quick"] * 3 + ["slow"] * 3
    for name in ("quick", "slow"):  # every image is measured, in turns
        images = [image for given, image in found["order"] if given == name]
        assert images == [at % 3 for at in range(len(images))]
    last = [name for name, _ in found["order"][-12:]]
    assert {"quick", "slow"} == set(last)


def test_the_table_has_the_ratio_of_blocks_in_the_same_round() -> None:
    measured = browser.Measured()
    ours = [float(value) for value in range(10, 21)]
    measured.add("Chromium", "digits", dict.fromkeys(browser.CHROMIUM, ours))
    measured.times["Chromium", "digits"]["LiteRT.js"] = [3 * value for value in ours]
    measured.ready, measured.sizes = {"LiteRT.js": [4.0, 2.0, 3.0]}, {"LiteRT.js": (2000, 1000)}
    cells = {"LiteRT.js": "990 of 1,000 right; 0 differ from litert"}
    versions = {
        "browser": "Chromium 1",
        "node": "Node 1",
        "ort": "onnxruntime-web 1",
        "litert": "@litertjs/core 1",
        "recipes": "",
    }
    text = browser.report({"cnn": measured}, [cells], versions, "python benchmarks/browser.py")
    assert "| cnn | Chromium | digits | mnist-edge | 15.0 (11.0 to 19.0) | 1.00 | 1.00 |" in text
    assert "| cnn | Chromium | digits | LiteRT.js | 45.0 (33.0 to 57.0) | 3.00 | 3.00 |" in text
    assert "| cnn | LiteRT.js | 2,000 | 1,000 | 3 |" in text
    assert "| cnn | LiteRT.js | 990 of 1,000 right; 0 differ from litert |" in text


def test_the_documentation_quotes_the_measured_ratios() -> None:
    columns = ("model", "in", "images", "library", "ratio of 10th")
    measured = {
        (row["model"], row["images"], row["library"]): row["ratio of 10th"]
        for row in table(browser.RESULTS, columns)
        if row["in"] == "Chromium"
    }
    kinds = [(model, kind) for model in browser.MODELS for kind in ("digits", "noise")]
    rows = table(ROOT / "docs" / "browser.md", ("library", *(", ".join(pair) for pair in kinds)))
    assert [row["library"] for row in rows] == list(browser.PEERS)
    for row in rows:
        for model, kind in kinds:
            assert row[f"{model}, {kind}"] == measured[model, kind, row["library"]], row
