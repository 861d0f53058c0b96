"""Experiments put together: a training with its page, a cross-validation, a sweep, each with its pictures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import plots, training
from mnist_edge.artifacts import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, read_vouched
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.formats.reference import Reference
from mnist_edge.page import document, png
from mnist_edge.parity.reports import evaluation
from mnist_edge.parity.statistics import wilson
from mnist_edge.parity.verify import evaluation_of
from mnist_edge.results import CrossValidation, FoldResult, Sweep, TrainResult, Trial
from mnist_edge.storage import locked, utf8, write_bytes
from mnist_edge.training import TrainConfig
from mnist_edge.workspace import folder_of, model_name

TRAINING_PAGE = "training.html"
CROSS_VALIDATION, SWEEP = "cross-validation", "sweep"
FILTERS_IN_A_ROW, FILTER_PIXELS = 16, 48


def train(
    config: TrainConfig, splits: Splits, workspace: Path, progress: Progress = no_progress, *, tensorboard: bool = False
) -> TrainResult:
    """`training.train`, and beside the model ``training.html``: curves, confusion matrix, mistakes, filters."""
    folder = folder_of(workspace, config.model)
    with locked(workspace, "train"):
        result = training.train(config, splits, folder, progress, tensorboard=tensorboard)
        manifest = Manifest.load(folder)
        key = fingerprint([manifest.files[name]["sha256"] for name in (KERAS_NAME, REFERENCE_NAME)])
        if not manifest.is_current(TRAINING_PAGE, key):
            manifest.commit({TRAINING_PAGE: (utf8(_page(folder, manifest, result, splits)), {"key": key})})
    return replace(result, page=str(folder / TRAINING_PAGE))


def _page(folder: Path, manifest: Manifest, result: TrainResult, splits: Splits) -> str:
    entry = manifest.files[KERAS_NAME]
    said = Reference.from_bytes(read_vouched(folder / REFERENCE_NAME)[0]).probabilities
    judged = evaluation_of(str(folder / KERAS_NAME), "keras", said, splits.test.labels)
    facts = entry["made_by"]["recipe"]
    # What is off is left out.
    parts = {**facts, **(facts["augmentation"] or {}), "augmentation": None, "name": None}
    recipe = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parts.items() if value)
    return document(
        f"mnist-edge: training {result.model}",
        [
            f"<h1>{escape(result.model)}, recipe {escape(result.recipe)}</h1>",
            f"<p>{result.epochs} epochs in {result.seconds:,.0f} s, {result.parameters:,} parameters, seed "
            f'{entry["made_by"]["seed"]}.</p><p class="soft">{escape(recipe)}</p>',
            "<h2>Training curves</h2>",
            "<p>The recipe trains on the validation split too: its curve says nothing here.</p>" * facts["refit"],
            f'<div class="scroll" tabindex="0" role="region" aria-label="Training curves">'
            f"{plots.curves(entry['history'])}</div>",
            *evaluation.parts_of(judged, splits.test.images, splits.class_names),
            "<h2>Filters of the first layer</h2>",
            f'<img src="{png(_filters(folder))}" alt="weights of the first layer, a tile a filter; grey is zero" '
            'style="max-width: 100%; image-rendering: pixelated">',
        ],
    )


def _filters(folder: Path) -> NDArray[np.uint8]:
    """The first layer's weights as one picture: a tile a filter, each scaled to its largest weight."""
    from mnist_edge import models

    model = models.load(folder / KERAS_NAME)
    layer = next(layer for layer in model.layers if layer.weights)
    kernel = np.asarray(layer.get_weights()[0])
    height, width = kernel.shape[:2] if kernel.ndim == 4 else tuple(model.inputs[0].shape)[1:3]
    tiles = np.moveaxis(kernel.reshape(height, width, -1, kernel.shape[-1])[:, :, 0], -1, 0)
    tiles = 127.5 + 127.5 * tiles / np.maximum(np.abs(tiles).max(axis=(1, 2), keepdims=True), 1e-9)
    zoom = max(1, FILTER_PIXELS // max(height, width))
    tiles = np.kron(tiles, np.ones((1, zoom, zoom)))
    tiles = np.pad(tiles, ((0, -len(tiles) % FILTERS_IN_A_ROW), (1, 1), (1, 1)), constant_values=127.5)
    rows = tiles.reshape(-1, FILTERS_IN_A_ROW, *tiles.shape[1:])
    return np.asarray(rows.swapaxes(1, 2).reshape(rows.shape[0] * tiles.shape[1], -1)).astype(np.uint8)


def cross_validate(
    config: TrainConfig,
    splits: Splits,
    folds: int,
    seeds: Sequence[int],
    workspace: Path,
    progress: Progress = no_progress,
) -> CrossValidation:
    """`training.cross_validate` with intervals (Wilson), the mean and deviation of the folds, and a plot."""
    folder = workspace / CROSS_VALIDATION
    with locked(workspace, "cross-validate"):
        rows = tuple(
            FoldResult(accuracy=row["correct"] / row["n"], accuracy_ci95=wilson(row["correct"], row["n"]), **row)
            for row in training.cross_validate(config, splits, folds, seeds, folder, progress)
        )
        n, correct = sum(row.n for row in rows), sum(row.correct for row in rows)
        # Several seeds read the same images: they narrow nothing, so that the interval is that of one reading.
        interval = wilson(round(correct / len(seeds)), n // len(seeds))
        accuracies = [row.accuracy for row in rows]
        plot = folder / f"{model_name(config.model)}-{config.recipe.name}.svg"
        write_bytes(plot, utf8(plots.folds(rows, (correct / n, *interval))))
    return CrossValidation(
        config.model, config.recipe.name, rows, n, correct, correct / n, interval,
        statistics.fmean(accuracies), statistics.stdev(accuracies), str(plot),
    )  # fmt: skip


def sweep(
    config: TrainConfig,
    splits: Splits,
    trials: int,
    workspace: Path,
    *,
    name: str | None = None,
    storage: str | None = None,
    progress: Progress = no_progress,
) -> Sweep:
    """`training.sweep`, its table and its plots.

    Args:
        config: model, recipe and seed. splits: the data. trials: how many the study shall have in the end.
        workspace: for the plots, and the study itself where no ``storage`` is named.
        name: of the study; None for the model's and recipe's.
        storage: an SQLAlchemy URL.
        progress: told of the steps of each trial.
    """
    folder = workspace / SWEEP
    name = name or f"{model_name(config.model)}-{config.recipe.name}"
    if storage is None:
        folder.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{folder / 'studies.db'}"
    study = training.open_study(name, storage, config, splits)
    training.sweep(study, trials, config, splits, progress)
    shares = training.importance(study)
    drawn = []
    for kind, picture in plots.study(study, bool(shares)).items():
        write_bytes(folder / f"{name}-{kind}.svg", utf8(picture))
        drawn.append(str(folder / f"{name}-{kind}.svg"))
    rows = tuple(
        Trial(
            item.number, item.state.name.lower(), item.value if item.state.name == "COMPLETE" else None,
            int(item.user_attrs.get("epochs", 0)), item.duration.total_seconds() if item.duration else 0.0, item.params,
        )
        for item in study.get_trials(deepcopy=False)
    )  # fmt: skip
    complete = [row for row in rows if row.accuracy is not None]
    best = max(complete, key=lambda row: row.accuracy or 0.0).number if complete else None
    return Sweep(name, _without_password(storage), config.model, rows, best, shares, tuple(drawn))


def _without_password(url: str) -> str:
    head, _, host = url.rpartition("@")
    return f"{head.split('://', 1)[0]}://{head.split('://', 1)[1].split(':', 1)[0]}@{host}" if head else url
