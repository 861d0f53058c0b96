"""Make the models in the wheel: recipe ``best``, seed 0 (fixed beforehand), with their provenance and a model card.

    python tools/ship_models.py --workspace runs/best-seed0

Trains, exports and verifies each model that the workspace lacks; then copies the int8 files, their self-tests and the
float answers into ``mnist_edge/shipped``.

``--cards-only`` updates the model cards of the shipped files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import data, training
from mnist_edge.data.splits import VALIDATION_IMAGES
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, sha256_of
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows.export import ExportOptions, export

SEED = 0
# The shipped float answers are multiples of this number.
ROUNDED_TO = 2**-17
FORMATS = ("tflite", "onnx")
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def ship(workspace: Path, model: str, splits: data.Splits) -> None:
    """Train, export and verify a model if that is not done yet, and copy its int8 files into the package."""
    folder, target = workspace / model, SHIPPED / model
    training.train(training.configure(model, "best", seed=SEED), splits, folder)
    result = export(ExportOptions(model=model, workspace=workspace, formats=FORMATS, data=splits))
    if result.error is not None:
        raise SystemExit(f"not shipped: {result.error.cause}")
    made = result.artifacts
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    source, manifest = Manifest.load(folder), Manifest(target)
    files = [Path(item.path).name for item in made if item.quantization == "int8"]
    for name in [*files, *(f"{name}.selftest.npz" for name in files), REFERENCE_NAME]:
        shutil.copyfile(folder / name, target / name)
        manifest.files[name] = source.files[name]
    for name in files:
        halve_selftest(target, manifest, golden_path(Path(name)).name)
    round_reference(target, manifest)
    for name in files:
        verdict = manifest.files[name]["verdict"]
        for report in verdict["results"]:
            report["changes"] = None  # details for the HTML page, which is not shipped
        for report in (*verdict["results"], *verdict["kernels"]):
            report["path"] = name
    trained = {key: value for key, value in source.files[KERAS_NAME].items() if key != "history"}
    manifest.files[files[0]]["trained"] = trained
    manifest.save()


def halve_selftest(folder: Path, manifest: Manifest, name: str) -> None:
    """Keep every second image of a golden set: with all of them, the wheel would exceed its limit of 2 MB."""
    whole = Golden.from_bytes((folder / name).read_bytes())
    half = replace(
        whole, images=whole.images[1::2], reference=whole.reference[1::2], probabilities=whole.probabilities[:, 1::2]
    )
    if len(set(half.reference.argmax(axis=1))) != half.reference.shape[1]:
        raise SystemExit(f"{name} would lose a class")
    content = half.to_bytes()
    (folder / name).write_bytes(content)
    manifest.files[name] |= {"sha256": sha256_of(content), "size_bytes": len(content)}


def round_reference(folder: Path, manifest: Manifest) -> None:
    """Round the float answers to multiples of `ROUNDED_TO`, so that they compress better.

    The wheel has a limit of 2 MB. Half of that step is 1/1024 of the step of an int8 output. No label changes.
    """
    whole = FloatAnswers.from_bytes((folder / REFERENCE_NAME).read_bytes())
    rounded = (np.rint(whole.probabilities / ROUNDED_TO) * ROUNDED_TO).astype(np.float32)
    if (rounded.argmax(axis=1) != whole.probabilities.argmax(axis=1)).any():
        raise SystemExit(f"{folder.name}: rounding the float answers changes a label")
    content = replace(whole, probabilities=rounded).to_bytes()
    (folder / REFERENCE_NAME).write_bytes(content)
    manifest.files[REFERENCE_NAME] |= {"sha256": sha256_of(content), "size_bytes": len(content)}


def write_card(model: str, manifest: Manifest) -> None:
    (manifest.folder / "MODEL_CARD.md").write_text(card(model, manifest))


# What was measured on the test images before a model was made, and what depended on it, by model. See
# benchmarks/results/training.md.
TEST_HISTORY = {
    "dense": (
        "an earlier `best` was measured on them, plain (five seeds) and corrupted (one). `quick` had 99.19 % there, "
        "more than expected of a net without a teacher, which was the reason to try longer training without one. Three "
        "variants of today's recipe were measured on them, all with a first version of the added forms: one net with "
        "three times as many of them (99.08 %), which was a reason to search for a better share; one with twice the "
        "learning rate (99.18 %), which was given up because its ONNX file lost too much on validation images; and "
        "four seeds with today's share and rate (99.17 %), one of them on corrupted images too. Epochs, rate and "
        "shares were chosen on held-out training images and on the pen trajectories of UCI's pendigits."
    ),
    "cnn": (
        "a first version of the recipe was measured on them, plain and corrupted, and showed a weakness against "
        "noise. The noise and polarity changes of the training images were then revised. That second version was "
        "measured on them too, plain and corrupted (three seeds, 99.66 %), as was `quick` with and without added "
        "forms. A third one, with three times as many epochs, other pens and resolutions, and a first version of the "
        "added forms, was measured plain (three seeds, 99.52 %) and corrupted (one), which was a reason to compare "
        "its parts again. Epochs, shares and forms were chosen on held-out training images and on the pen "
        "trajectories of UCI's pendigits."
    ),
}


def card(model: str, manifest: Manifest) -> str:
    """The text of a shipped model's card, from its manifest."""
    files = sorted((name for name, entry in manifest.files.items() if "verdict" in entry), reverse=True)
    trained: dict[str, Any] = next(entry["trained"] for entry in manifest.files.values() if "trained" in entry)
    made_by, test = trained["made_by"], trained["test"]
    recipe = made_by["recipe"]
    lines = [
        f"# {model}: a handwritten digit, 28 x 28 grey pixels, to one of ten classes", "",
        f"- Architecture: `mnist_edge/models/{model}.py`, {trained['parameters']:,} parameters.",
        f"- Data: {trained['images']:,} images, changed at random: MNIST's training set (LeCun, Cortes, Burges) "
        f"without the {VALIDATION_IMAGES:,} validation images, and copies of its ones, sevens and nines with an added "
        "form: an upstroke or foot, a bar, a curved tail.",
        f"- Test images: not trained on, but not untouched: {TEST_HISTORY[model]} So the accuracy below may be "
        "slightly optimistic.",
        f"- Made by `python tools/ship_models.py`: recipe `best`, seed {SEED} (fixed beforehand), "
        f"{made_by['recipe']['epochs']} epochs, {trained['seconds']:,.0f} s, {made_by['precision']} arithmetic.",
        f"- Versions: {', '.join(f'{name} {number}' for name, number in made_by['versions'].items())}.",
        f"- Float model: {test['correct'] / test['n']:.2%} of {test['n']:,} test images.", "",
        "| file | bytes | SHA-256 | engine | accuracy | drop, 95 % interval (pp) | verdict | temperature |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in files:
        entry = manifest.files[name]
        for report in entry["verdict"]["results"]:
            low, high = report["drop_ci95_pp"]
            lines.append(
                f"| {name} | {entry['size_bytes']:,} | `{entry['sha256']}` | {report['engine']} | "
                f"{report['accuracy']:.2%} | {report['drop_pp']:+.2f} ({low:+.2f} to {high:+.2f}) | "
                f"{'passed' if report['passed'] else report['rule']} | {entry['temperature']:.3f} |"
            )
    lines += ["", *seeds_section(model, recipe["epochs"]), "## Limits", ""]
    lines += [
        "- The network knows digits as MNIST has them, 20 pixels tall in 28 x 28; the preprocessor `digit` brings "
        "pictures there.",
        "- Blank pictures, noise and more than one figure are answered with none; a letter or a scene may be read as a "
        "digit.",
        "- Confidence: a file's temperature is fitted on the validation images, and is 1.000 if it would not lower the "
        "log loss there. Calibration error on the test images: `benchmarks/results/confidence.md`.",
        f"- `{REFERENCE_NAME}` here has the float model's answers rounded to multiples of 2**-17 (at most "
        "0.000004 off, no label changed), for the size of the wheel; the verdicts above were made with the unrounded "
        "ones, whose hash the model files name.",
        "- Licence: Apache-2.0, as the rest of this package.",
    ]
    return "\n".join(lines) + "\n"


def seeds_section(model: str, epochs: int) -> list[str]:
    """Section of the card about accuracy over several seeds, from benchmarks/results/best-MODEL.json.

    Raises:
        SystemExit: the seeds were trained by a recipe with another number of epochs.
    """
    runs = json.loads((RESULTS / f"best-{model}.json").read_text())["runs"]
    if runs[0]["epochs"] != epochs:
        raise SystemExit(f"best-{model}.json is of another recipe: run benchmarks/seeds.py")
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
    parser.add_argument("--cards-only", action="store_true")
    options = parser.parse_args()
    for model in options.model or ["dense", "cnn"]:
        if not options.cards_only:
            ship(options.workspace, model, data.load())
        shipped = Manifest.load(SHIPPED / model)
        write_card(model, shipped)
        print(SHIPPED / model / "MODEL_CARD.md")


if __name__ == "__main__":
    main()
