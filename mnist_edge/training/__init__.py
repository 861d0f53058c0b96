"""Training: recipes are data, one loop runs them, and what was learnt is on disk after every epoch."""

from mnist_edge.training.fit import train
from mnist_edge.training.recipes import RECIPES, Recipe, TrainConfig, configure
from mnist_edge.training.reference import adopt, reference_of

__all__ = ["RECIPES", "Recipe", "TrainConfig", "adopt", "configure", "reference_of", "train"]
