"""The loop: seeded, resumable after every epoch, and recorded."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import artifacts, models
from mnist_edge.artifacts import KERAS_NAME, REFERENCE_NAME, Manifest
from mnist_edge.data import Splits, one_hot
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import StageError
from mnist_edge.models.backend import import_keras, installed_versions
from mnist_edge.results import TrainResult
from mnist_edge.training.recipes import TrainConfig
from mnist_edge.training.reference import reference_of

CHECKPOINT_FOLDER = "checkpoint"


def train(config: TrainConfig, splits: Splits, folder: Path, progress: Progress = no_progress) -> TrainResult:
    """Train a model, save it as ``model.keras`` with its ``reference.npz``; nothing is done where that was done.

    A run that was stopped goes on after its last whole epoch, if it is asked for with the same configuration and data.
    The order of the images in an epoch depends on the seed and the epoch alone.

    Args:
        config: model, recipe and seed.
        splits: the data; the test split is looked at once, at the end.
        folder: the model's folder in the workspace.
        progress: told of every hundredth of an epoch.

    Raises:
        UsageError: no such model.
        StageError: the loss became NaN, or the disk refused.
        MissingError: TensorFlow is not installed.
    """
    manifest = Manifest.load(folder)
    facts = _facts(config, splits)
    key = artifacts.fingerprint(facts)
    if manifest.is_current(KERAS_NAME, key) and manifest.is_current(REFERENCE_NAME, key):
        return artifacts_result(manifest)
    progress("loading TensorFlow", 0, 1)
    import_keras()
    progress("loading TensorFlow", 1, 1)
    checkpoint = _Checkpoint(folder / CHECKPOINT_FOLDER, key)
    model, history, seconds = checkpoint.resume() or (_new_model(config, splits), [], 0.0)
    while len(history) < config.recipe.epochs:
        started = time.monotonic()
        history.append(_epoch(model, config, splits, len(history), progress))
        seconds += time.monotonic() - started
        checkpoint.save(model, history, seconds)
    reference, output = reference_of(model, splits)
    with artifacts.writing(folder / KERAS_NAME) as path:
        model.save(path)
    artifacts.write_bytes(folder / REFERENCE_NAME, reference.to_bytes())
    correct = int((reference.probabilities.argmax(axis=1) == splits.test.labels).sum())
    manifest.record(
        KERAS_NAME,
        key=key,
        made_by=facts,
        data=splits.sha256,
        class_names=list(splits.class_names),
        preprocessor=splits.preprocessor,
        output=output,
        parameters=int(model.count_params()),
        history=history,
        seconds=round(seconds, 1),
        test={"n": len(splits.test), "correct": correct},
    )
    manifest.record(REFERENCE_NAME, key=key)
    shutil.rmtree(checkpoint.folder, ignore_errors=True)
    return artifacts_result(manifest, fresh=True)


def artifacts_result(manifest: Manifest, fresh: bool = False) -> TrainResult:
    """The result that a manifest's entry for ``model.keras`` stands for."""
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


def _facts(config: TrainConfig, splits: Splits) -> dict[str, Any]:
    """All that a trained model depends on."""
    start = Path(config.model)
    return {
        "model": config.model if start.suffix != ".keras" else start.name,
        "start": artifacts.sha256_of(artifacts.read_bytes(start)) if start.suffix == ".keras" else None,
        "recipe": asdict(config.recipe),
        "seed": config.seed,
        "split_seed": splits.split_seed,
        "data": splits.sha256,
        "versions": installed_versions(("keras", "tensorflow", "numpy")),
    }


def _new_model(config: TrainConfig, splits: Splits) -> Any:
    keras = import_keras()
    keras.utils.set_random_seed(config.seed)
    if config.model.endswith(".keras"):
        model = models.load(Path(config.model))
    else:
        model = models.build(config.model, splits.image_shape, len(splits.class_names))
    loss = keras.losses.CategoricalCrossentropy(from_logits=not _ends_in_softmax(model))
    optimizer = keras.optimizers.get({"class_name": config.recipe.optimizer, "config": {}})
    optimizer.learning_rate = config.recipe.learning_rate
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def _ends_in_softmax(model: Any) -> bool:
    last = model.layers[-1]
    return type(last).__name__ == "Softmax" or getattr(getattr(last, "activation", None), "__name__", "") == "softmax"


def _epoch(model: Any, config: TrainConfig, splits: Splits, epoch: int, progress: Progress) -> dict[str, float]:
    import keras

    steps = -(-len(splits.train) // config.recipe.batch_size)
    what = f"epoch {epoch + 1}/{config.recipe.epochs}"

    class Report(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            if batch % max(1, steps // 100) == 0 or batch + 1 == steps:
                progress(what, batch + 1, steps)

    classes = len(splits.class_names)
    scale = np.float32(models.pixel_scale(model))
    shape = tuple(model.inputs[0].shape)[1:]
    order = np.random.default_rng([config.seed, epoch]).permutation(len(splits.train))
    record = model.fit(
        (splits.train.images[order] * scale).reshape(-1, *shape),
        one_hot(splits.train.labels[order], classes),
        batch_size=config.recipe.batch_size,
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        verbose=0,
        validation_data=(
            (splits.validation.images * scale).reshape(-1, *shape),
            one_hot(splits.validation.labels, classes),
        ),
        callbacks=[Report()],
    ).history
    row = {name: float(values[-1]) for name, values in record.items()}
    if not np.isfinite(row["loss"]):
        raise StageError("The loss became NaN or infinite.", "Choose a smaller --learning-rate.")
    return row


class _Checkpoint:
    """The state after the last whole epoch. ``state.json`` is renamed last and names the weights that belong to it."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self._key = key

    def save(self, model: Any, history: list[dict[str, float]], seconds: float) -> None:
        name = f"epoch-{len(history)}.keras"
        with artifacts.writing(self.folder / name) as path:
            model.save(path)
        state = {
            "key": self._key, "file": name, "sha256": artifacts.sha256_of_file(self.folder / name),
            "history": history, "seconds": seconds,
        }  # fmt: skip
        artifacts.write_json(self.folder / "state.json", state)
        for old in self.folder.glob("epoch-*.keras"):
            if old.name != name:
                old.unlink()

    def resume(self) -> tuple[Any, list[dict[str, float]], float] | None:
        """Model, history and seconds; None where there is nothing whole of this very run."""
        try:
            state = json.loads((self.folder / "state.json").read_text())
            path = self.folder / str(state["file"])
            if state["key"] != self._key or artifacts.sha256_of_file(path) != state["sha256"]:
                return None
            history, seconds = list(state["history"]), float(state["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return import_keras().models.load_model(path), history, seconds
