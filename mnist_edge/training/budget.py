"""Number of epochs that fit into a time budget, estimated by a short run on this machine."""

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

    Two short epochs are trained. The second one gives the time of an epoch; the extra time of the first one, which
    compiles the graph, is subtracted from the budget.

    Args:
        config: a configuration with a ``time_budget``.
        train, validation: the splits that the real run uses.
        classes: number of classes.

    Raises:
        UsageError: the budget is shorter than one epoch.
    """
    assert config.time_budget is not None
    recipe = replace(config.recipe, epochs=2, clean_epochs=0)
    probe = take(train.images, train.labels, np.arange(min(len(train), PROBE_BATCHES * recipe.batch_size)))
    one_image = take(validation.images, validation.labels, np.arange(1))
    _, record = fit(replace(config, recipe=recipe), probe, one_image, classes)
    first, second = (row["seconds"] for row in record.history)
    epoch = second * steps_of(train, recipe) / steps_of(probe, recipe)
    epochs = int((60 * config.time_budget - max(0.0, first - second)) / epoch)
    if epochs < 1:
        raise UsageError(
            f"An epoch takes about {epoch:.0f} s here, which is more than the time budget.",
            f"Give at least --time-budget {(epoch + first) / 60:.1f}.",
        )
    return replace(config, recipe=replace(config.recipe, epochs=epochs))
