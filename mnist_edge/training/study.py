"""A search for a better recipe, by Optuna: resumable, pruned, and shared by any number of machines."""

from __future__ import annotations

import contextlib
import random
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mnist_edge import models
from mnist_edge.data import Splits
from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import MissingError, StageError, UsageError, missing_extra
from mnist_edge.models.backend import clear_session
from mnist_edge.store.manifest import fingerprint
from mnist_edge.training.fit import fit
from mnist_edge.training.recipes import OPTIMIZERS, Recipe, TrainConfig, augmentation_of
from mnist_edge.training.stage import facts_of

BATCH_SIZES = (32, 64, 128, 256, 512)
# A worker that has not been heard of for so long is given up, and its trial is run again by another.
HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 20
# Machines that begin the same study at the same moment are in each other's way; all but the first try again.
ATTEMPTS = 10


def suggest_recipe(trial: Any, recipe: Recipe) -> Recipe:
    """A recipe with optimizer, learning rate, batch size and strength of augmentation drawn by a trial."""
    optimizer = trial.suggest_categorical("optimizer", OPTIMIZERS)
    low, high = (1e-3, 1.0) if optimizer == "sgd" else (1e-4, 2e-2)
    # A name a range: Optuna wants one distribution a name.
    rate = trial.suggest_float("learning_rate_sgd" if optimizer == "sgd" else "learning_rate", low, high, log=True)
    strength = trial.suggest_float("augmentation", 0.0, 1.5)
    return replace(
        recipe,
        optimizer=optimizer,
        learning_rate=rate,
        batch_size=trial.suggest_categorical("batch_size", BATCH_SIZES),
        augmentation=augmentation_of(recipe, strength),
    )


def open_study(name: str, storage: str, config: TrainConfig, splits: Splits) -> Any:
    """The study of that name, begun where there is none.

    Args:
        name: of the study.
        storage: an SQLAlchemy URL; ``postgresql://`` for several machines.
        config: what all its trials have in common.
        splits: the data.

    Raises:
        UsageError: the study is of another model, recipe or data set.
        MissingError: Optuna or the database's driver is not installed.
        StageError: the database does not answer.
    """
    try:
        import optuna
        from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
    except ImportError as error:
        raise missing_extra("Optuna", "train") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # psycopg 3 is the driver that we install.
    url = storage.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        for left in reversed(range(ATTEMPTS)):
            try:
                with _quiet_about_experiments():
                    return _begun(name, url, config, splits)
            except (IntegrityError, ProgrammingError, optuna.exceptions.StorageInternalError):
                if not left:
                    raise
                time.sleep(random.uniform(0.1, 0.5))  # another machine begins it at this moment: then it is there
    except ImportError as error:
        raise MissingError(
            f"The driver of {storage.split(':', 1)[0]} databases is not installed.",
            "pip install 'mnist-edge[postgresql]'",
        ) from error
    except SQLAlchemyError as error:
        raise StageError(
            f"The study's database does not answer: {str(error.__cause__ or error).splitlines()[0]}.",
            "Check --storage, the server and the password.",
        ) from error
    except optuna.exceptions.StorageInternalError as error:
        raise StageError(f"The study's database fails: {str(error).splitlines()[0]}.", "Try again.") from error


def _begun(name: str, url: str, config: TrainConfig, splits: Splits) -> Any:
    import optuna

    storage = optuna.storages.RDBStorage(
        url,
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=2),
    )
    study = optuna.create_study(
        study_name=name, storage=storage, load_if_exists=True, direction="maximize",
        sampler=optuna.samplers.TPESampler(constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0),
    )  # fmt: skip
    # Not the versions and the precision: other machines may join.
    common = facts_of(config, splits)
    facts = fingerprint([common[name] for name in ("model", "start", "recipe", "data")])
    if study.user_attrs.get("facts", facts) != facts:
        raise UsageError(
            f"The study {name!r} is of another model, recipe or data set.", "Choose another name with --study."
        )
    study.set_user_attr("facts", facts)
    return study


def sweep(study: Any, trials: int, config: TrainConfig, splits: Splits, progress: Progress = no_progress) -> None:
    """Run trials until the study has so many, all workers' together. A trial's figure is its validation accuracy.

    Args:
        study: from `open_study`.
        trials: finished or pruned ones.
        config: model, recipe and seed.
        splits: train and validation are used.
        progress: told of the steps of each trial.
    """
    import optuna

    done = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)

    def objective(trial: Any) -> float:
        def told(what: str, at: int, total: int) -> None:
            progress(f"trial {trial.number}", at, total)

        def on_epoch(epoch: int, row: dict[str, float]) -> None:
            trial.report(row["val_accuracy"], epoch)
            trial.set_user_attr("epochs", epoch + 1)
            if trial.should_prune():
                raise optuna.TrialPruned

        clear_session()
        run = replace(config, recipe=suggest_recipe(trial, config.recipe))
        try:
            model, _ = fit(
                run, splits.train, splits.validation, len(splits.class_names), progress=told, on_epoch=on_epoch
            )
        except StageError as error:  # NaN: as bad a recipe as any
            raise optuna.TrialPruned from error
        right = models.outputs(model, splits.validation.images).argmax(axis=1) == splits.validation.labels
        return float(right.mean())

    def finished() -> int:
        return sum(trial.state in done for trial in study.get_trials(deepcopy=False))

    while finished() < trials:
        with _quiet_about_experiments():
            study.optimize(objective, n_trials=1)


def importance(study: Any) -> dict[str, float]:
    """How much of the accuracy's variance each parameter explains (fANOVA); empty with too few trials."""
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    with contextlib.suppress(RuntimeError, ValueError), _quiet_about_experiments():
        return {name: round(float(share), 4) for name, share in optuna.importance.get_param_importances(study).items()}
    return {}


@contextlib.contextmanager
def _quiet_about_experiments() -> Iterator[None]:
    """Optuna warns that heartbeats are experimental every time that one is used."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
