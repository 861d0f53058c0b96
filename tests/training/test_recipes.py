"""Recipes, and the options that override their settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mnist_edge.errors import UsageError
from mnist_edge.training import configure
from mnist_edge.training.recipes import RECIPES, augmentation_of, suited


def test_the_augmentation_option_scales_the_augmentation_of_a_recipe_as_a_sweep_does() -> None:
    for name in ("quick", "tutorial"):
        recipe = RECIPES[name].get("dense", RECIPES[name]["*"])
        assert configure("dense", name, augmentation=0.5).recipe.augmentation == augmentation_of(recipe, 0.5)
        assert configure("dense", name, augmentation=0).recipe.augmentation is None
        assert configure("dense", name).recipe.augmentation == recipe.augmentation
    for wrong in (-1, 11, float("nan")):
        with pytest.raises(UsageError, match="augmentation cannot be"):
            configure("dense", augmentation=wrong)


def test_changes_of_strokes_are_left_out_for_images_that_are_not_digits() -> None:
    recipe = configure("cnn", "best").recipe
    assert suited(recipe, "digit") is recipe
    other = suited(recipe, "resize").augmentation
    assert other is not None
    assert recipe.augmentation is not None
    assert (other.pens, other.resample, other.binarize) == (0, 0, 0)
    assert other == replace(recipe.augmentation, pens=0.0, resample=0.0, binarize=0.0)
    plain = configure("cnn", "tutorial").recipe
    assert suited(plain, "resize") is plain
