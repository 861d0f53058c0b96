"""The training stage: from a recipe and data to ``model.keras`` and its float answers, recorded in the manifest."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mnist_edge import models
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.models.backend import import_keras, installed_versions
from mnist_edge.models.source import of_keras
from mnist_edge.results import TrainResult
from mnist_edge.store.files import read_bytes
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, Manifest, fingerprint, sha256_of
from mnist_edge.store.workspace import KERAS_SUFFIXES
from mnist_edge.training import forms
from mnist_edge.training.budget import within_budget
from mnist_edge.training.checkpoint import Checkpoint
from mnist_edge.training.fit import FitOptions, fit, precision_of
from mnist_edge.training.recipes import TrainConfig, suited
from mnist_edge.training.reference import reference_of

CHECKPOINT_NAME = "checkpoint.npz"


def train(
    config: TrainConfig, splits: Splits, folder: Path, progress: Progress = no_progress, *, tensorboard: bool = False
) -> TrainResult:
    """Train a model and save it as ``model.keras``, with its float answers in ``reference.npz``.

    Nothing is done if the folder holds the result of the same configuration and data. A run that was stopped continues
    after its last complete epoch, if configuration and data are the same.

    Args:
        config: model, recipe and seed.
        splits: the data; the test split is used once, at the end.
        folder: the model's folder in the workspace.
        progress: called with the number of finished steps and of all.
        tensorboard: write TensorBoard's logs into the subfolder ``tensorboard``.

    Raises:
        UsageError: there is no such model.
        StageError: the loss became NaN, or a file could not be written.
        MissingError: TensorFlow is not installed.
    """
    manifest = Manifest.load(folder)
    config = replace(config, recipe=suited(config.recipe, splits.preprocessor))
    facts = facts_of(config, splits)
    key = fingerprint(facts)
    if manifest.is_current(KERAS_NAME, key) and manifest.is_current(REFERENCE_NAME, key):
        return artifacts_result(manifest)
    progress("loading TensorFlow", 0, 1)
    import_keras()
    progress("loading TensorFlow", 1, 1)
    checkpoint = Checkpoint(folder / CHECKPOINT_NAME, key)
    train_split = forms.with_forms(splits.train, splits, config.recipe.forms)
    classes = len(splits.class_names)
    if config.time_budget is not None:
        planned = checkpoint.planned()
        config = (
            replace(config, recipe=replace(config.recipe, epochs=planned))
            if planned
            else within_budget(config, train_split, splits.validation, classes)
        )
    options = FitOptions(folder / "tensorboard" if tensorboard else None, checkpoint, progress)
    model, record = fit(config, train_split, splits.validation, classes, options)
    reference, output = reference_of(of_keras(model), splits)
    correct = int((reference.probabilities.argmax(axis=1) == splits.test.labels).sum())
    made = {
        "key": key,
        "made_by": facts,
        "data": splits.sha256,
        "class_names": list(splits.class_names),
        "preprocessor": splits.preprocessor,
        "output": output,
        "images": len(train_split),
        "parameters": int(model.count_params()),
        "history": record.history,
        "seconds": round(record.seconds, 1),
        "test": {"n": len(splits.test), "correct": correct},
    }
    manifest.commit({KERAS_NAME: (models.saved(model), made), REFERENCE_NAME: (reference.to_bytes(), {"key": key})})
    checkpoint.path.unlink(missing_ok=True)
    return artifacts_result(manifest, fresh=True)


def artifacts_result(manifest: Manifest, fresh: bool = False) -> TrainResult:
    """Training result from a manifest's entry for ``model.keras``; ``fresh`` if it has just been trained."""
    entry = manifest.files[KERAS_NAME]
    made_by, test = entry["made_by"], entry["test"]
    return TrainResult(
        path=str(manifest.folder / KERAS_NAME),
        reference=str(manifest.folder / REFERENCE_NAME),
        model=made_by["model"],
        recipe=made_by["recipe"]["name"],
        parameters=entry["parameters"],
        epochs=len(entry["history"]),
        test_accuracy=test["correct"] / test["n"],
        test_n=test["n"],
        seconds=entry["seconds"],
        fresh=fresh,
    )


def facts_of(config: TrainConfig, splits: Splits) -> dict[str, Any]:
    """Everything that a trained model depends on, as JSON values; its fingerprint decides whether to train again."""
    start = Path(config.model)
    return {
        "model": config.model if start.suffix not in KERAS_SUFFIXES else start.name,
        "start": sha256_of(read_bytes(start)) if start.suffix in KERAS_SUFFIXES else None,
        "recipe": asdict(config.recipe) | ({"epochs": None} if config.time_budget else {}),
        "time_budget": config.time_budget,
        "forms": forms.VERSION if config.recipe.forms else None,
        "precision": precision_of(config.recipe),
        "seed": config.seed,
        "split_seed": splits.split_seed,
        "data": splits.sha256,
        "versions": installed_versions(("keras", "tensorflow", "numpy")),
    }
