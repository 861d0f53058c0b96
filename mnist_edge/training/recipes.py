"""How a model is trained, as data. A better recipe is one more entry here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mnist_edge.errors import UsageError, suggest
from mnist_edge.training.augment import Augmentation

OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd")


@dataclass(frozen=True)
class Recipe:
    """What the loop does. What was tried and did not help is in ``benchmarks/results/training.md``.

    Attributes:
        epochs: passes over the training split, the last ``clean_epochs`` of them without augmentation.
        learning_rate: the optimizer's step size, after ``warmup_epochs`` and, if ``cosine``, falling to 0 with the last
            step (Loshchilov and Hutter, 2017).
        batch_norm: in the trainable twin; folded into the deployed net.
        mixed_precision: bfloat16 arithmetic where the processor has it.
        teacher: the architecture that labels the changed images in place of their labels, trained by the recipe of the
            same name with seed 0, whatever the student's (distillation, Hinton et al., 2015).
        refit: train on the validation split too. Only for a recipe with which all is decided.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    warmup_epochs: float = 0.0
    cosine: bool = False
    augmentation: Augmentation | None = None
    clean_epochs: int = 0
    batch_norm: bool = False
    mixed_precision: bool = False
    teacher: str | None = None
    refit: bool = False


ANY = "*"
_AFFINE = Augmentation(rotation=12, scale=0.12, stretch=0.1, shear=0.2, shift=1.5)
# What 128 hidden units can still learn.
_MILD = Augmentation(rotation=8, scale=0.08, stretch=0.08, shear=0.15, shift=1, elastic=0.7)
# Pens, scans and photographs besides.
_WIDE = replace(
    _AFFINE, perspective=0.15, elastic=0.7,
    photometric=0.5, pen=0.8, contrast=3, blur=1, background=0.5, noise=0.4, invert=0.1,
)  # fmt: skip
_QUICK = Recipe(
    "quick", epochs=22, batch_size=128, optimizer="adam", learning_rate=2e-3, warmup_epochs=0.5, cosine=True,
    augmentation=_AFFINE, mixed_precision=True,
)  # fmt: skip
_QUICK_DENSE = replace(_QUICK, epochs=140, batch_size=512, learning_rate=4e-3, augmentation=_MILD)

# What a strength of 1 is for a recipe that has no augmentation of its own.
UNIT = Augmentation(rotation=12, scale=0.12, stretch=0.1, shear=0.2, shift=1.5)

# By name, and then by architecture, with ANY for all others.
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
            augmentation=_WIDE,
            clean_epochs=1,
            batch_norm=True,
            refit=True,
        ),
        "dense": replace(_QUICK_DENSE, name="best", epochs=120, teacher="cnn", refit=True),
    },
}
DEFAULT_RECIPE = "quick"
MAX_STRENGTH = 10


@dataclass(frozen=True)
class TrainConfig:
    """A model (a built-in name, or the path of a ``.keras`` file to go on from), a recipe, and a seed.

    With a ``time_budget``, in minutes, the recipe's number of epochs gives way to as many as fit, and
    it has no teacher.
    """

    model: str
    recipe: Recipe
    seed: int = 0
    time_budget: float | None = None


def augmentation_of(recipe: Recipe, strength: float) -> Augmentation | None:
    """A recipe's augmentation times a strength; None for 0."""
    return (recipe.augmentation or UNIT).scaled(strength) if strength else None


def configure(
    model: str,
    recipe: str = DEFAULT_RECIPE,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    augmentation: float | None = None,
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
    if augmentation is not None and not 0 <= augmentation <= MAX_STRENGTH:
        raise UsageError(f"augmentation cannot be {augmentation}.", f"Give a number from 0 to {MAX_STRENGTH}.")
    chosen = RECIPES[recipe].get(model, RECIPES[recipe][ANY])
    if augmentation is not None:
        chosen = replace(chosen, augmentation=augmentation_of(chosen, augmentation))
    if time_budget is not None:
        chosen = replace(chosen, teacher=None)  # whose training knows no budget
    given = {name: value for name, value in changes.items() if value is not None}
    return TrainConfig(model, replace(chosen, **given), seed, time_budget)  # type: ignore[arg-type]
