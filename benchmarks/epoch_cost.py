"""Cost of augmentation: time of an epoch of each recipe and of a bare ``fit`` of the same net, interleaved.

    python benchmarks/epoch_cost.py [--rounds 3]

The bare ``model.fit`` uses float32 arrays in memory, Adam and the recipe's batch size, without augmentation. Each round
trains both for three epochs, of which the first one, which compiles the graph, is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np

from mnist_edge import data, models
from mnist_edge.data import one_hot, take
from mnist_edge.models.backend import clear_session, import_keras
from mnist_edge.training import configure
from mnist_edge.training.fit import fit, precision_of
from mnist_edge.training.forms import with_forms

EPOCHS = 3


def bare(model: str, train: data.Split, batch_size: int) -> list[float]:
    """Seconds of each epoch but the first, by Keras alone."""
    keras = import_keras()
    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self.begun = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            seconds.append(time.monotonic() - self.begun)

    net = models.build(model, (28, 28, 1), 10)
    net.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    net.fit(
        train.images / np.float32(255), one_hot(train.labels, 10), batch_size=batch_size, epochs=EPOCHS, verbose=0,
        callbacks=[Clock()],
    )  # fmt: skip
    return seconds[1:]


def augmented(model: str, recipe: str, splits: data.Splits, mixed: bool) -> list[float]:
    """Seconds of each epoch but the first, by a recipe."""
    config = configure(model, recipe, epochs=EPOCHS)
    changed = replace(config.recipe, clean_epochs=0, mixed_precision=mixed)
    one = take(splits.validation.images, splits.validation.labels, np.arange(1))
    _, record = fit(replace(config, recipe=changed), with_forms(splits.train, splits, changed.forms), one, 10)
    return [row["seconds"] for row in record.history[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    splits = data.load()
    for model, recipe in (("dense", "quick"), ("cnn", "quick"), ("cnn", "best")):
        chosen = configure(model, recipe).recipe
        for mixed in sorted({precision_of(chosen) != "float32", False}, reverse=True):
            pairs = []
            for _ in range(rounds):
                clear_session()
                one = statistics.median(bare(model, splits.train, chosen.batch_size))
                pairs.append((one, statistics.median(augmented(model, recipe, splits, mixed))))
            ratios = [ours / theirs for theirs, ours in pairs]
            print(
                f"{model:5} {recipe:5} batch {chosen.batch_size:3} {'bfloat16' if mixed else 'float32 '} "
                f"bare {statistics.median(one for one, _ in pairs):5.2f} s  "
                f"augmented {statistics.median(ours for _, ours in pairs):5.2f} s  "
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
