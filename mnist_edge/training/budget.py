"""A recipe for the minutes that a person has: its epochs are counted out by a short run on this machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mnist_edge.data import Split, take
from mnist_edge.errors import UsageError
from mnist_edge.training.batches import steps_of
from mnist_edge.training.fit import fit
from mnist_edge.training.recipes import TrainConfig

PROBE_BATCHES = 64


def within_budget(config: TrainConfig, train: Split, validation: Split, classes: int) -> TrainConfig:
    """The configuration with as many epochs as fit into its ``time_budget``.

    The probe's second epoch is the measure; what its first took longer (compiling) is taken off the budget.

    Raises:
        UsageError: the budget is shorter than one epoch.
    """
    assert config.time_budget is not None
    recipe = replace(config.recipe, epochs=2, clean_epochs=0)
    some = take(train.images, train.labels, np.arange(min(len(train), PROBE_BATCHES * recipe.batch_size)))
    _, record = fit(
        replace(config, recipe=recipe), some, take(validation.images, validation.labels, np.arange(1)), classes
    )
    first, second = (row["seconds"] for row in record.history)
    epoch = second * steps_of(train, recipe) / steps_of(some, recipe)
    epochs = int((60 * config.time_budget - max(0.0, first - second)) / epoch)
    if epochs < 1:
        raise UsageError(
            f"An epoch takes about {epoch:.0f} s here, which is more than the time budget.",
            f"Give at least --time-budget {(epoch + first) / 60:.1f}.",
        )
    return replace(config, recipe=replace(config.recipe, epochs=epochs))
