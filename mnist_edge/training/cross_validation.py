"""Stratified k-fold cross-validation of a recipe, for several seeds, without the test images."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import models
from mnist_edge.data import Split, Splits, joined, take
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import UsageError, missing_extra
from mnist_edge.models.backend import clear_session
from mnist_edge.store import files
from mnist_edge.store.manifest import fingerprint
from mnist_edge.training.checkpoint import Checkpoint
from mnist_edge.training.fit import FitOptions, fit
from mnist_edge.training.forms import with_forms
from mnist_edge.training.recipes import TrainConfig, suited
from mnist_edge.training.stage import facts_of


@dataclass(frozen=True)
class Folds:
    """Number of folds, and the seeds; each seed draws its own folds, initial weights and order of the images."""

    count: int
    seeds: Sequence[int] = (0,)


def folds_of(split: Split, folds: int, seed: int) -> list[tuple[Split, Split]]:
    """Divide a split into folds, stratified: each fold has about the same share of each class.

    Returns:
        For each fold, the images to train on (all other folds) and the images that are left out (the fold).

    Raises:
        UsageError: fewer than two folds, or a class with fewer images than folds.
        MissingError: scikit-learn is not installed.
    """
    try:
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        raise missing_extra("scikit-learn", "train") from error
    fewest = int(np.bincount(split.labels).min())
    if not 2 <= folds <= fewest:
        raise UsageError(f"{folds} folds cannot be made.", f"Choose from 2 to {fewest} folds.")
    pairs = StratifiedKFold(folds, shuffle=True, random_state=seed).split(split.images[:, 0, 0], split.labels)
    return [(take(split.images, split.labels, kept), take(split.images, split.labels, out)) for kept, out in pairs]


def cross_validate(
    config: TrainConfig, splits: Splits, folds: Folds, folder: Path, progress: Progress = no_progress
) -> Iterator[dict[str, Any]]:
    """Train on all folds but one and count the correct answers on that one, for each fold and seed.

    Results are kept, so that a run that finished before is not repeated.

    Args:
        config: model and recipe; its seed is not used.
        splits: the data; train and validation are joined and divided into folds, the test split is not used.
        folds: number of folds, and the seeds.
        folder: where results and checkpoints are kept.
        progress: called with the steps of each run.

    Yields:
        For each run ``fold``, ``seed``, ``n``, ``correct`` and ``seconds``.
    """
    everything = joined(splits.train, splits.validation)
    for seed in folds.seeds:
        run = TrainConfig(config.model, suited(config.recipe, splits.preprocessor), seed)
        facts = facts_of(run, splits)
        for number, (kept, out) in enumerate(folds_of(everything, folds.count, seed)):
            key = fingerprint({**facts, "folds": folds.count, "fold": number})
            path = folder / f"{Path(config.model).stem}-{config.recipe.name}-seed{seed}-fold{number}-{key[:12]}.json"
            if not path.is_file():
                started = time.monotonic()
                checkpoint = Checkpoint(path.with_suffix(".npz"), key)

                name = f"seed {seed}, fold {number + 1}/{folds.count}"
                clear_session()
                options = FitOptions(checkpoint=checkpoint, progress=_renamed(progress, name))
                model, _ = fit(run, with_forms(kept, splits, run.recipe.forms), out, len(splits.class_names), options)
                is_correct = models.outputs(model, out.images).argmax(axis=1) == out.labels
                seconds = round(time.monotonic() - started, 1)
                row = {
                    "fold": number,
                    "seed": seed,
                    "n": len(out),
                    "correct": int(is_correct.sum()),
                    "seconds": seconds,
                }
                files.write_json(path, row)
                checkpoint.path.unlink(missing_ok=True)
            yield json.loads(path.read_text())


def _renamed(progress: Progress, name: str) -> Progress:
    """A progress function that reports under one fixed name."""
    return lambda what, done, total: progress(name, done, total)
