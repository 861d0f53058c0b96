"""Ablation study of recipe ``best``: shortened runs without one of its parts, measured on the validation split alone.

    python benchmarks/ablation.py --model cnn -o runs/ablation-cnn.jsonl [--epochs 12] [--seeds 1] [--only NAME ...]

Appends a line per run to the file; runs that it holds already are not repeated. The test images are not read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from mnist_edge import data, models
from mnist_edge.training import RECIPES, Recipe, TrainConfig
from mnist_edge.training.fit import fit
from mnist_edge.training.forms import with_forms

EPOCHS = {"cnn": 12, "dense": 100}
GEOMETRY = ("perspective", "elastic")
PHOTOMETRY = ("photometric",)
STROKES = ("pens", "resample", "binarize")


def variants(model: str) -> Iterator[tuple[str, Recipe]]:
    recipes = RECIPES["best"]
    base = recipes.get(model, recipes["*"])
    ranges = base.augmentation
    assert ranges is not None
    yield "the whole recipe", base
    yield "no augmentation", replace(base, augmentation=None)
    yield "no added forms", replace(base, forms=0.0)
    yield "no weaker augmentation at the end", replace(base, final_strength=1.0)
    for name in (*GEOMETRY, *PHOTOMETRY, *STROKES):
        if asdict(ranges)[name]:
            yield f"no {name} change", replace(base, augmentation=replace(ranges, **{name: 0.0}))
    yield "half the augmentation", replace(base, augmentation=ranges.scaled(0.5))
    yield "1.5 times the augmentation", replace(base, augmentation=ranges.scaled(1.5))
    yield f"{'no' if base.batch_norm else 'with'} batch norm", replace(base, batch_norm=not base.batch_norm)
    yield (
        f"last epoch {'with' if base.clean_epochs else 'without'} augmentation",
        replace(base, clean_epochs=1 - base.clean_epochs),
    )
    yield "constant learning rate, a third", replace(base, cosine=False, learning_rate=base.learning_rate / 3)
    yield "float32 arithmetic", replace(base, mixed_precision=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(EPOCHS), required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    lines = arguments.output.read_text().splitlines() if arguments.output.exists() else []
    done = {(row["variant"], row["seed"]) for row in map(json.loads, lines)}
    splits = data.load()
    validation = splits.validation
    for name, recipe in variants(arguments.model):
        for seed in range(arguments.seeds):
            if (name, seed) in done or (arguments.only and name not in arguments.only):
                continue
            short = replace(recipe, epochs=arguments.epochs or EPOCHS[arguments.model])
            config = TrainConfig(arguments.model, short, seed)
            train = with_forms(splits.train, splits, short.forms)
            model, record = fit(config, train, validation, len(splits.class_names))
            probabilities = models.outputs(model, validation.images)
            of_labels = probabilities[np.arange(len(validation)), validation.labels]
            row = {
                "variant": name,
                "seed": seed,
                "epochs": short.epochs,
                "accuracy": float((probabilities.argmax(axis=1) == validation.labels).mean()),
                "cross_entropy": float(-np.log(np.maximum(of_labels, 1e-7)).mean()),
                "seconds_an_epoch": round(record.seconds / record.epochs, 2),
            }
            with arguments.output.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
