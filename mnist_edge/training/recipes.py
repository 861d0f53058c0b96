"""How a model is trained, as data. A better recipe is one more entry here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mnist_edge.errors import UsageError, suggest

OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd")


@dataclass(frozen=True)
class Recipe:
    """What the loop does. Learning rate: step size of the optimizer. Epoch: one pass over the training split."""

    name: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float


RECIPES = {
    recipe.name: recipe for recipe in (Recipe("tutorial", epochs=5, batch_size=64, optimizer="sgd", learning_rate=0.1),)
}
DEFAULT_RECIPE = "tutorial"


@dataclass(frozen=True)
class TrainConfig:
    """A model (a built-in name, or the path of a ``.keras`` file to go on from), a recipe, and a seed."""

    model: str
    recipe: Recipe
    seed: int = 0


def configure(
    model: str,
    recipe: str = DEFAULT_RECIPE,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> TrainConfig:
    """A configuration from a recipe's name and what shall differ from it.

    Raises:
        UsageError: a name that is not known, or a number that is out of range.
    """
    if recipe not in RECIPES:
        raise suggest(recipe, list(RECIPES), "recipe")
    if optimizer is not None and optimizer not in OPTIMIZERS:
        raise suggest(optimizer, list(OPTIMIZERS), "optimizer")
    changes = {"epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "learning_rate": learning_rate}
    for name, value in changes.items():
        if isinstance(value, int | float) and not 0 < value < 1e6:
            raise UsageError(f"{name} cannot be {value}.", "Give a positive number.")
    given = {name: value for name, value in changes.items() if value is not None}
    return TrainConfig(model, replace(RECIPES[recipe], **given), seed)  # type: ignore[arg-type]
