"""Training: recipes are data, one loop runs them, and what was learnt is on disk after every epoch."""

from mnist_edge.training.recipes import RECIPES, Recipe, TrainConfig, configure
from mnist_edge.training.reference import adopt, reference_of
from mnist_edge.training.train import train

__all__ = ["RECIPES", "Recipe", "TrainConfig", "adopt", "configure", "reference_of", "train"]
