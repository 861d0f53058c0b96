"""``train``: a trained model in its folder, with the page ``training.html`` about it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import models, training
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import UsageError, suggest
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.parity.verify import evaluation_of
from mnist_edge.reports import evaluation, plots
from mnist_edge.reports.page import document, png
from mnist_edge.results import TrainResult
from mnist_edge.runtime.selection import source_model
from mnist_edge.store.files import locked, utf8
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, read_verified
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, SOURCE_SUFFIXES, folder_of
from mnist_edge.training import TrainConfig
from mnist_edge.workflows.data_source import DataSource, load_splits

TRAINING_PAGE = "training.html"
FILTERS_IN_A_ROW, FILTER_PIXELS = 16, 48


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What ``train`` trains. If a hyperparameter is None, the recipe's own value is used.

    Attributes:
        model: a built-in name, or a model's folder, name or ``.keras`` file to train further.
        recipe: ``quick``, ``best`` or ``tutorial``.
        augmentation: a factor for the recipe's augmentation; 0 for no augmentation.
        time_budget: in minutes; the number of epochs is chosen so that the training fits in it.
        tensorboard: whether to write TensorBoard logs next to the model.
        workspace: the folder that holds models' folders.
        data: the data set.
    """

    model: str = DEFAULT_MODEL
    recipe: str = "quick"
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    augmentation: float | None = None
    seed: int = 0
    time_budget: float | None = None
    tensorboard: bool = False
    workspace: Path = DEFAULT_WORKSPACE
    data: DataSource = None


def train(options: TrainOptions, progress: Progress = no_progress) -> TrainResult:
    """Train a model on the training split, and write ``model.keras``, ``reference.npz`` and ``training.html``.

    An interrupted training continues after its last complete epoch. If nothing has changed, nothing is trained.

    Raises:
        UsageError: no such model or recipe, or a number that is out of range.
        MissingError: TensorFlow or the data are missing.
        StageError: another process works in this workspace, the loss became NaN, or a file cannot be written.
    """
    config = training.configure(
        source_model(options.model, options.workspace, models.names()), options.recipe,
        epochs=options.epochs, batch_size=options.batch_size, optimizer=options.optimizer,
        learning_rate=options.learning_rate, augmentation=options.augmentation, seed=options.seed,
        time_budget=options.time_budget,
    )  # fmt: skip
    splits = load_splits(options.data, progress)
    return _train(config, splits, options.workspace, progress, tensorboard=options.tensorboard)


def ensure_model(
    workspace: Path,
    model: str,
    splits: Splits,
    progress: Progress = no_progress,
    reference: Path | None = None,
) -> tuple[Path, TrainResult | None]:
    """Make sure that a model is trained: adopt a model's file, use the trained model, or train one as `train` does.

    ``reference`` is for a file that is adopted, see `mnist_edge.training.adopt`.

    Returns:
        The model's folder, and the result of the training if there was one.

    Raises:
        UsageError: no such model, or one that was trained on other data.
        ContentError: a file that is no image classifier for these data.
        MnistEdgeError: what `train` raises.
    """
    folder = folder_of(workspace, model)
    manifest = Manifest.load(folder)
    source = manifest.source_name
    if Path(model).suffix in SOURCE_SUFFIXES:
        if Path(model).resolve() != (folder / source).resolve():
            training.adopt(Path(model), splits, folder, reference)
        return folder, None
    if (folder / source).is_file() and {source, REFERENCE_NAME} <= set(manifest.files):
        for name in (source, REFERENCE_NAME):
            manifest.check(name)
        if manifest.files[source]["data"] != splits.sha256:
            train_again = shlex.join(["mnist-edge", "train", "--model", model, "-o", str(workspace)])
            raise UsageError(
                f"{folder / source} was trained on other data than these.",
                "Name its data with --data" + (f", or train again: {train_again}" if source == KERAS_NAME else "."),
            )
        return folder, None
    if model not in models.names():
        raise suggest(model, models.names(), "model")
    return folder, _train(training.configure(model), splits, workspace, progress)


def _train(
    config: TrainConfig, splits: Splits, workspace: Path, progress: Progress, *, tensorboard: bool = False
) -> TrainResult:
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
    answers = FloatAnswers.from_bytes(read_verified(folder / REFERENCE_NAME)[0]).probabilities
    judged = evaluation_of(str(folder / KERAS_NAME), "keras", answers, splits.test.labels)
    facts = entry["made_by"]["recipe"]
    # Omit disabled options.
    parts = {**facts, **(facts["augmentation"] or {}), "augmentation": None, "name": None}
    recipe = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parts.items() if value)
    return document(
        f"mnist-edge: training {result.model}",
        [
            f"<h1>{escape(result.model)}, recipe {escape(result.recipe)}</h1>",
            f"<p>{result.epochs} epochs in {result.seconds:,.0f} s, {result.parameters:,} parameters, seed "
            f'{entry["made_by"]["seed"]}.</p><p class="soft">{escape(recipe)}</p>',
            "<h2>Training curves</h2>",
            f'<div class="scroll" tabindex="0" role="region" aria-label="Training curves">'
            f"{plots.curves(entry['history'])}</div>",
            *evaluation.parts_of(judged, splits.test.images, splits.class_names),
            "<h2>Filters of the first layer</h2>",
            f'<img src="{png(_filters(folder))}" alt="weights of the first layer, one tile per filter; grey is zero" '
            'style="max-width: 100%; image-rendering: pixelated">',
        ],
    )


def _filters(folder: Path) -> NDArray[np.uint8]:
    """The first layer's weights as one picture, uint8 (h, w): one tile per filter, scaled to its largest weight."""
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
