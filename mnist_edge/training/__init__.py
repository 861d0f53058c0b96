"""Training: recipes as data, one training loop, and a checkpoint after every epoch."""

from mnist_edge.training.cross_validation import Folds, cross_validate
from mnist_edge.training.recipes import RECIPES, Recipe, TrainConfig, configure
from mnist_edge.training.reference import UnfitError, adopt, reference_of, require_int8, require_no_other
from mnist_edge.training.stage import train
from mnist_edge.training.study import importance, open_study, sweep

__all__ = [
    "RECIPES",
    "Folds",
    "Recipe",
    "TrainConfig",
    "UnfitError",
    "adopt",
    "configure",
    "cross_validate",
    "importance",
    "open_study",
    "reference_of",
    "require_int8",
    "require_no_other",
    "sweep",
    "train",
]
