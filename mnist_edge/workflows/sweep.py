"""``sweep``: a search for hyperparameters, its table and its plots."""

from __future__ import annotations

from pathlib import Path

from mnist_edge import training
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.reports import plots
from mnist_edge.results import Sweep, Trial
from mnist_edge.store.files import utf8, write_bytes
from mnist_edge.store.workspace import model_name
from mnist_edge.training import TrainConfig

SWEEP = "sweep"


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
