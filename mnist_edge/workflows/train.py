"""``train``: a trained model in its folder, and ``training.html`` next to it."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import training
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.formats.reference import Reference
from mnist_edge.parity.verify import evaluation_of
from mnist_edge.reports import evaluation, plots
from mnist_edge.reports.page import document, png
from mnist_edge.results import TrainResult
from mnist_edge.store.files import locked, utf8
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, read_vouched
from mnist_edge.store.workspace import folder_of
from mnist_edge.training import TrainConfig

TRAINING_PAGE = "training.html"
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
