"""The models in the wheel: recipe ``best``, seed 0 (fixed beforehand), with their provenance and a model card.

    python tools/ship_models.py --workspace runs/best-seed0

Trains, exports and verifies what the workspace lacks; then copies the int8 files, their self-tests and the float
model's answers into ``mnist_edge/shipped``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import data, pipeline, training
from mnist_edge.artifacts import KERAS_NAME, REFERENCE_NAME, Manifest, sha256_of
from mnist_edge.runtime.confidence import fit_temperature
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.training.fit import fit, precision_of
from mnist_edge.training.folding import function_of
from mnist_edge.workspace import SHIPPED

SEED = 0
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def ship(workspace: Path, model: str, splits: data.Splits) -> None:
    folder, target = workspace / model, SHIPPED / model
    training.train(training.configure(model, "best", seed=SEED), splits, folder)
    made, _ = pipeline.export(workspace, model, ["tflite", "onnx"], splits)
    failed = [item.path for item in made for report in item.parity if not report.passed]
    if failed:
        raise SystemExit(f"not shipped, the gate failed: {failed}")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    source, manifest = Manifest.load(folder), Manifest(target)
    files = [Path(item.path).name for item in made if item.quantization == "int8"]
    for name in [*files, *(f"{name}.selftest.npz" for name in files), REFERENCE_NAME]:
        shutil.copyfile(folder / name, target / name)
        manifest.files[name] = source.files[name]
    for name in files:
        halve_selftest(target, manifest, golden_path(Path(name)).name)
    for name in files:
        verdict = manifest.files[name]["verdict"]
        for report in verdict["results"]:
            report["changes"] = None  # the page's details stay where the page is
        for report in (*verdict["results"], *verdict["kernels"]):
            report["path"] = name
    with tempfile.TemporaryDirectory() as scratch:
        temperature = temperature_of(model, splits, Path(scratch))
    for name in files:
        manifest.files[name]["temperature"] = temperature
    trained = {key: value for key, value in source.files[KERAS_NAME].items() if key != "history"}
    manifest.files[files[0]]["trained"] = trained
    manifest.save()
    (target / "MODEL_CARD.md").write_text(card(model, manifest, trained, files))


def halve_selftest(folder: Path, manifest: Manifest, name: str) -> None:
    """Keep every other image of a golden set: all of them would take the wheel over its 2 MB."""
    whole = Golden.from_bytes((folder / name).read_bytes())
    half = replace(
        whole, images=whole.images[1::2], reference=whole.reference[1::2], probabilities=whole.probabilities[:, 1::2]
    )
    if len(set(half.reference.argmax(axis=1))) != half.reference.shape[1]:
        raise SystemExit(f"{name} would lose a class")
    content = half.to_bytes()
    (folder / name).write_bytes(content)
    manifest.files[name] |= {"sha256": sha256_of(content), "size_bytes": len(content)}


def temperature_of(model: str, splits: data.Splits, scratch: Path) -> float:
    """The confidence's temperature, of a net by the same recipe and seed that has not trained on the validation split.

    Its teacher, where the recipe has one, has not either.
    """
    config = training.configure(model, "best", seed=SEED)
    honest = replace(config, recipe=replace(config.recipe, refit=False, teacher=None))
    teacher = None
    if config.recipe.teacher:
        beside = scratch / f"{config.recipe.teacher}.keras"
        if not beside.exists():
            temperature_of(config.recipe.teacher, splits, scratch)
        teacher = function_of(beside, precision_of(honest.recipe))
    net, _ = fit(honest, splits.train, splits.validation, 10, teacher=teacher)
    net.save(scratch / f"{model}.keras")
    probabilities = net.predict(splits.validation.images / np.float32(255), batch_size=500, verbose=0)
    return fit_temperature(probabilities, splits.validation.labels)


def card(model: str, manifest: Manifest, trained: dict[str, Any], files: list[str]) -> str:
    made_by, test = trained["made_by"], trained["test"]
    lines = [
        f"# {model}: a handwritten digit, 28 x 28 grey pixels, to one of ten classes", "",
        f"- Architecture: `mnist_edge/models/{model}.py`, {trained['parameters']:,} parameters.",
        "- Data: MNIST's 60,000 training images (LeCun, Cortes, Burges), changed at random; the 10,000 test images "
        "chose nothing and were read once.",
        f"- Made by `python tools/ship_models.py`: recipe `best`, seed {SEED} (fixed beforehand), "
        f"{made_by['recipe']['epochs']} epochs, {trained['seconds']:,.0f} s, {made_by['precision']} arithmetic.",
        f"- Versions: {', '.join(f'{name} {number}' for name, number in made_by['versions'].items())}.",
        f"- Float model: {test['correct'] / test['n']:.2%} of {test['n']:,} test images.", "",
        "| file | bytes | SHA-256 | engine | accuracy | drop, 95 % interval (pp) | verdict |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in files:
        entry = manifest.files[name]
        for report in entry["verdict"]["results"]:
            low, high = report["drop_ci95_pp"]
            lines.append(
                f"| {name} | {entry['size_bytes']:,} | `{entry['sha256']}` | {report['engine']} | "
                f"{report['accuracy']:.2%} | {report['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f}) | "
                f"{'passed' if report['passed'] else report['rule']} |"
            )
    lines += ["", *others(model), "## Limits", ""]
    lines += [
        "- The network knows digits as MNIST has them, 20 pixels tall in 28 x 28; the preprocessor `digit` brings "
        "pictures there.",
        "- Blank pictures, noise and more than one figure are answered with none; a letter or a scene may be read as a "
        "digit.",
        "- The confidence's temperature is that of a net of the same recipe and seed that did not train on the "
        "validation split.",
        "- Licence: Apache-2.0, as the rest of this package.",
    ]
    return "\n".join(lines) + "\n"


def others(model: str) -> list[str]:
    """The other seeds, so that nobody takes one seed's figure for the recipe's."""
    path = RESULTS / f"best-{model}.json"
    if not path.is_file():
        return []
    runs = json.loads(path.read_text())["runs"]
    rows = []
    for engine in runs[0]["int8"]:
        values = [100 * run["int8"][engine] for run in runs]
        rows.append(
            f"- {len(values)} seeds, int8 TFLite on {engine}: {statistics.fmean(values):.3f} +/- "
            f"{statistics.stdev(values):.3f} % (`benchmarks/seeds.py --model {model} --recipe best`)."
        )
    return ["## The recipe, not the seed", "", *rows, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("runs") / f"best-seed{SEED}")
    parser.add_argument("--model", action="append", choices=["dense", "cnn"])
    arguments = parser.parse_args()
    splits = data.load()
    for model in arguments.model or ["dense", "cnn"]:
        ship(arguments.workspace, model, splits)
        print(f"shipped {SHIPPED / model}")


if __name__ == "__main__":
    main()
