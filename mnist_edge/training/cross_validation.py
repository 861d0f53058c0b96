"""How well a recipe does on images it has not seen, without opening the test set: k folds, several seeds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
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
from mnist_edge.training.fit import fit
from mnist_edge.training.recipes import TrainConfig
from mnist_edge.training.stage import facts_of


def folds_of(split: Split, folds: int, seed: int) -> list[tuple[Split, Split]]:
    """Pairs of what is trained on and what is left out, stratified: every fold has its share of every class.

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
    dealt = StratifiedKFold(folds, shuffle=True, random_state=seed).split(split.images[:, 0, 0], split.labels)
    return [(take(split.images, split.labels, kept), take(split.images, split.labels, out)) for kept, out in dealt]


def cross_validate(
    config: TrainConfig,
    splits: Splits,
    folds: int,
    seeds: Sequence[int],
    folder: Path,
    progress: Progress = no_progress,
) -> Iterator[dict[str, Any]]:
    """Train on all folds but one, for every fold and seed; what was finished before is not run again.

    A recipe's teacher is left out: it would have seen the images that are left out.

    Args:
        config: model and recipe; its seed is not used.
        splits: train and validation are joined and dealt anew; the test split is not touched.
        folds: how many.
        seeds: of the weights, the order and the deal.
        folder: where results and checkpoints are kept.
        progress: told of the steps of each run.

    Yields:
        For every run ``fold``, ``seed``, ``n``, ``correct`` and ``seconds``.
    """
    everything = joined(splits.train, splits.validation)
    for seed in seeds:
        run = TrainConfig(config.model, config.recipe, seed)
        facts = facts_of(run, splits)
        for number, (kept, out) in enumerate(folds_of(everything, folds, seed)):
            key = fingerprint({**facts, "folds": folds, "fold": number})
            path = folder / f"{Path(config.model).stem}-{config.recipe.name}-seed{seed}-fold{number}-{key[:12]}.json"
            if not path.is_file():
                started = time.monotonic()
                checkpoint = Checkpoint(path.with_suffix(".npz"), key)

                def told(
                    what: str, done: int, total: int, name: str = f"seed {seed}, fold {number + 1}/{folds}"
                ) -> None:
                    progress(name, done, total)

                clear_session()
                model, _ = fit(run, kept, out, len(splits.class_names), checkpoint=checkpoint, progress=told)
                right = models.outputs(model, out.images).argmax(axis=1) == out.labels
                row = {"fold": number, "seed": seed, "n": len(out), "correct": int(right.sum()),
                       "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
                files.write_json(path, row)
                checkpoint.path.unlink(missing_ok=True)
            yield json.loads(path.read_text())
