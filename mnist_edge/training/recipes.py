"""How a model is trained, as data. A better recipe is one more entry here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mnist_edge.errors import UsageError, suggest
from mnist_edge.training.augment import Augmentation

OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd")


@dataclass(frozen=True)
class Recipe:
    """What the loop does.

    Attributes:
        epochs: passes over the training split, the last ``clean_epochs`` of them without augmentation.
        learning_rate: the optimizer's step size, after ``warmup_epochs`` and, if ``cosine``, falling to 0 with the last
            step (Loshchilov and Hutter, 2017).
        weight_decay: of adamw.
        label_smoothing: share of a label's probability that is spread over all classes.
        batch_norm, dropout: layers of the trainable twin, gone from the deployed net.
        averaging: momentum of the running average of the weights that is kept in the end; 0 for none.
        mixed_precision: bfloat16 arithmetic where the processor has it.
        refit: train on the validation split too. Only for a recipe with which all is decided.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    warmup_epochs: float = 0.0
    cosine: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None
    clean_epochs: int = 0
    batch_norm: bool = False
    dropout: float = 0.0
    averaging: float = 0.0
    mixed_precision: bool = False
    refit: bool = False


_AFFINE = Augmentation(rotation=12, scale=0.12, stretch=0.1, shear=0.2, shift=1.5)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("tutorial", epochs=5, batch_size=64, optimizer="sgd", learning_rate=0.1),
        Recipe(
            "quick",
            epochs=12,
            batch_size=128,
            optimizer="adam",
            learning_rate=2e-3,
            warmup_epochs=0.5,
            cosine=True,
            augmentation=_AFFINE,
            mixed_precision=True,
        ),
    )
}
DEFAULT_RECIPE = "quick"


@dataclass(frozen=True)
class TrainConfig:
    """A model (a built-in name, or the path of a ``.keras`` file to go on from), a recipe, and a seed.

    With a ``time_budget``, in minutes, the recipe's number of epochs gives way to as many as fit.
    """

    model: str
    recipe: Recipe
    seed: int = 0
    time_budget: float | None = None


def configure(
    model: str,
    recipe: str = DEFAULT_RECIPE,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    time_budget: float | None = None,
) -> TrainConfig:
    """A configuration from a recipe's name and what shall differ from it.

    Raises:
        UsageError: a name that is not known, or a number that is out of range.
    """
    if recipe not in RECIPES:
        raise suggest(recipe, list(RECIPES), "recipe")
    if optimizer is not None and optimizer not in OPTIMIZERS:
        raise suggest(optimizer, list(OPTIMIZERS), "optimizer")
    if time_budget is not None and epochs is not None:
        raise UsageError("--epochs and --time-budget both say how long to train.", "Give one of them.")
    changes = {"epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "learning_rate": learning_rate}
    for name, value in (*changes.items(), ("time_budget", time_budget)):
        if isinstance(value, int | float) and not 0 < value < 1e6:
            raise UsageError(f"{name} cannot be {value}.", "Give a positive number.")
    given = {name: value for name, value in changes.items() if value is not None}
    return TrainConfig(model, replace(RECIPES[recipe], **given), seed, time_budget)  # type: ignore[arg-type]
