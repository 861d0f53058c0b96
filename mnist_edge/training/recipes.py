"""Training recipes as data. To add a recipe, add an entry to `RECIPES`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypedDict, TypeVar, Unpack

from mnist_edge.data.catalog import MNIST
from mnist_edge.errors import UsageError, suggest
from mnist_edge.training.augment import Augmentation

T = TypeVar("T")
OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd")


@dataclass(frozen=True)
class Recipe:
    """All settings of the training loop. ``benchmarks/results/training.md`` lists what was tried and did not help.

    Attributes:
        name: the recipe's key in `RECIPES`.
        epochs: passes over the training split.
        batch_size: images per step.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: the optimizer's step size after the warm-up.
        warmup_epochs: time in which the learning rate rises from 0; only with ``cosine``.
        cosine: let the learning rate fall to 0 at the last step, as a cosine (Loshchilov and Hutter, "SGDR", 2017).
        augmentation: random changes to the images; None for none.
        final_strength: factor on the augmentation at the end of training, to which it changes linearly from 1.
        clean_epochs: number of epochs without augmentation, at the end.
        batch_norm: in the trainable model; it is folded into the deployed net.
        mixed_precision: use bfloat16 arithmetic if the processor has it.
        forms: images added to MNIST's ones, sevens and nines, as a fraction of them, in forms that it hardly has; see
            `mnist_edge.training.forms`.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    warmup_epochs: float = 0.0
    cosine: bool = False
    augmentation: Augmentation | None = None
    final_strength: float = 1.0
    clean_epochs: int = 0
    batch_norm: bool = False
    mixed_precision: bool = False
    forms: float = 0.0


# Key of `RECIPES` for all architectures without an entry of their own.
ANY = "*"
_AFFINE = Augmentation(rotation=12, scale=0.12, stretch=0.1, shear=0.2, shift=1.5)
# For the dense net: its 128 hidden units do not learn larger changes.
_MILD = Augmentation(rotation=8, scale=0.08, stretch=0.08, shear=0.15, shift=1, elastic=0.7)
# Adds the differences between pens, scans and photographs.
_WIDE = replace(
    _AFFINE, perspective=0.15, elastic=0.7,
    photometric=0.5, pen=0.8, contrast=3, blur=1, background=0.5, noise=0.4, invert=0.1,
)  # fmt: skip
# Shares of images whose strokes are changed to those of other pens, tablets and scanners; digits only, see `suited`.
_STROKES = {"pens": 0.15, "resample": 0.15, "binarize": 0.1}
_QUICK = Recipe(
    "quick", epochs=22, batch_size=128, optimizer="adam", learning_rate=2e-3, warmup_epochs=0.5, cosine=True,
    augmentation=_AFFINE, mixed_precision=True,
)  # fmt: skip
_QUICK_DENSE = replace(_QUICK, epochs=140, batch_size=512, learning_rate=4e-3, augmentation=_MILD)

# Recipes by name, then by architecture.
RECIPES: dict[str, dict[str, Recipe]] = {
    "tutorial": {ANY: Recipe("tutorial", epochs=5, batch_size=64, optimizer="sgd", learning_rate=0.1)},
    "quick": {ANY: _QUICK, "dense": _QUICK_DENSE},
    "best": {
        ANY: replace(
            _QUICK,
            name="best",
            epochs=60,
            batch_size=256,
            learning_rate=3e-3,
            augmentation=replace(_WIDE, **_STROKES),
            final_strength=0.5,
            clean_epochs=1,
            batch_norm=True,
            forms=0.1,
        ),
        "dense": replace(_QUICK_DENSE, name="best", epochs=480, augmentation=replace(_MILD, **_STROKES), forms=0.1),
    },
}
DEFAULT_RECIPE = "quick"
# The largest factor on a recipe's augmentation.
MAX_STRENGTH = 10


@dataclass(frozen=True)
class TrainConfig:
    """Model, recipe and seed of a training run.

    Attributes:
        model: a built-in name, or the path of a ``.keras`` file whose weights are the starting point.
        recipe: with its overrides applied.
        seed: of the initial weights, the order of the images and augmentation.
        time_budget: minutes; the recipe's number of epochs is replaced by as many as fit. None for no budget.
    """

    model: str
    recipe: Recipe
    seed: int = 0
    time_budget: float | None = None


class Overrides(TypedDict, total=False):
    """Changes to a recipe, and the remaining settings of a run. None is the same as leaving a key out.

    ``augmentation`` is a factor on the recipe's augmentation, 0 for none; the other keys are as in `Recipe` and
    `TrainConfig`.
    """

    epochs: int | None
    batch_size: int | None
    optimizer: str | None
    learning_rate: float | None
    augmentation: float | None
    seed: int
    time_budget: float | None


def suited(recipe: Recipe, preprocessor: str) -> Recipe:
    """Adapt a recipe to a data set: remove the changes of strokes unless its preprocessor is that of digits."""
    if recipe.augmentation is None or preprocessor == MNIST.preprocessor:
        return recipe
    return replace(recipe, augmentation=replace(recipe.augmentation, **dict.fromkeys(_STROKES, 0.0)))


def augmentation_of(recipe: Recipe, strength: float) -> Augmentation | None:
    """A recipe's augmentation times a strength, None for a strength of 0.

    A recipe without augmentation is given that of recipe ``quick``.
    """
    return (recipe.augmentation or _AFFINE).scaled(strength) if strength else None


def configure(model: str, recipe: str = DEFAULT_RECIPE, **overrides: Unpack[Overrides]) -> TrainConfig:
    """Configure a run by a recipe's name, and by overrides of its settings.

    Raises:
        UsageError: an unknown name, or a number out of range.
    """
    if recipe not in RECIPES:
        raise suggest(recipe, list(RECIPES), "recipe")
    optimizer = overrides.get("optimizer")
    if optimizer is not None and optimizer not in OPTIMIZERS:
        raise suggest(optimizer, list(OPTIMIZERS), "optimizer")
    time_budget, augmentation = overrides.get("time_budget"), overrides.get("augmentation")
    if time_budget is not None and overrides.get("epochs") is not None:
        raise UsageError("--epochs and --time-budget both say how long to train.", "Give one of them.")
    for name in ("epochs", "batch_size", "learning_rate", "time_budget"):
        value = overrides.get(name)
        if isinstance(value, int | float) and not 0 < value < 1e6:
            raise UsageError(f"{name} cannot be {value}.", "Give a positive number.")
    if augmentation is not None and not 0 <= augmentation <= MAX_STRENGTH:
        raise UsageError(f"augmentation cannot be {augmentation}.", f"Give a number from 0 to {MAX_STRENGTH}.")
    chosen = RECIPES[recipe].get(model, RECIPES[recipe][ANY])
    chosen = replace(
        chosen,
        epochs=_or(overrides.get("epochs"), chosen.epochs),
        batch_size=_or(overrides.get("batch_size"), chosen.batch_size),
        optimizer=_or(optimizer, chosen.optimizer),
        learning_rate=_or(overrides.get("learning_rate"), chosen.learning_rate),
        augmentation=chosen.augmentation if augmentation is None else augmentation_of(chosen, augmentation),
    )
    return TrainConfig(model, chosen, overrides.get("seed", 0), time_budget)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
