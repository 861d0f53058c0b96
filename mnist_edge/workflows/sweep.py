"""``sweep``: a search for hyperparameters, with its trials and plots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnist_edge import models, training
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.reports import plots
from mnist_edge.results import Sweep, Trial
from mnist_edge.runtime.selection import source_model
from mnist_edge.store.files import utf8, write_bytes
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, model_name
from mnist_edge.workflows.data_source import DataSource, load_splits

SWEEP = "sweep"


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What ``sweep`` searches.

    Attributes:
        model: a built-in name, or a model's folder, name or ``.keras`` file to train further.
        recipe: ``quick``, ``best`` or ``tutorial``; it sets what the search does not vary.
        trials: number of trials that the study has at the end, those of earlier runs included.
        epochs: of each trial; None for the recipe's.
        study: the study's name; None to make it from the model and the recipe.
        storage: SQLAlchemy URL of a database that several machines share; None for SQLite in the workspace.
        workspace: the folder for plots and for SQLite.
        data: the data set.
    """

    model: str = DEFAULT_MODEL
    recipe: str = "quick"
    trials: int = 20
    epochs: int | None = None
    seed: int = 0
    study: str | None = None
    storage: str | None = None
    workspace: Path = DEFAULT_WORKSPACE
    data: DataSource = None


def sweep(options: SweepOptions, progress: Progress = no_progress) -> Sweep:
    """Search optimizer, learning rate, batch size and augmentation by the accuracy on the validation split.

    Raises:
        UsageError: no such model or recipe, or a study of that name for another configuration.
        StageError: the database does not answer.
        MnistEdgeError: what loading the data and training raise.
    """
    model = source_model(options.model, options.workspace, models.names())
    config = training.configure(model, options.recipe, epochs=options.epochs, seed=options.seed)
    splits = load_splits(options.data, progress)
    folder = options.workspace / SWEEP
    name = options.study or f"{model_name(config.model)}-{config.recipe.name}"
    storage = options.storage
    if storage is None:
        folder.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{folder / 'studies.db'}"
    study = training.open_study(name, storage, config, splits)
    training.sweep(study, options.trials, config, splits, progress)
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
