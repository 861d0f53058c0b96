"""Hyperparameter search by Optuna: resumable, with pruning, and shared by any number of machines."""

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
from mnist_edge.training.fit import FitOptions, fit
from mnist_edge.training.forms import with_forms
from mnist_edge.training.recipes import OPTIMIZERS, Recipe, TrainConfig, augmentation_of, suited
from mnist_edge.training.stage import facts_of

BATCH_SIZES = (32, 64, 128, 256, 512)
# Workers report every HEARTBEAT_SECONDS. The trial of a worker that has been silent for GRACE_SECONDS is run again by
# another one.
HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 20
# Attempts to open a study: if several machines create it at the same time, all but the first fail and try again.
ATTEMPTS = 10


def suggest_recipe(trial: Any, recipe: Recipe) -> Recipe:
    """A recipe with optimizer, learning rate, batch size and strength of augmentation chosen by an Optuna trial."""
    optimizer = trial.suggest_categorical("optimizer", OPTIMIZERS)
    low, high = (1e-3, 1.0) if optimizer == "sgd" else (1e-4, 2e-2)
    # Two names for two ranges: Optuna requires the same distribution each time that a name is used.
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
    """Open the Optuna study of a name; create it if it does not exist.

    Args:
        name: the study's name.
        storage: SQLAlchemy URL of its database; ``postgresql://`` for several machines.
        config: model, recipe and seed, which all trials have in common.
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
    # The extra "postgresql" installs psycopg 3, whose URLs have a scheme of their own.
    url = storage.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        for left in reversed(range(ATTEMPTS)):
            try:
                with _no_experimental_warnings():
                    return _create_or_load(name, url, config, splits)
            except (IntegrityError, ProgrammingError, optuna.exceptions.StorageInternalError):
                if not left:
                    raise
                time.sleep(random.uniform(0.1, 0.5))  # another machine is creating the study
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


def _create_or_load(name: str, url: str, config: TrainConfig, splits: Splits) -> Any:
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
    # Versions and precision are left out, because machines with other ones may join.
    common = facts_of(config, splits)
    facts = fingerprint([common[name] for name in ("model", "start", "recipe", "data")])
    if study.user_attrs.get("facts", facts) != facts:
        raise UsageError(
            f"The study {name!r} is of another model, recipe or data set.", "Choose another name with --study."
        )
    study.set_user_attr("facts", facts)
    return study


def sweep(study: Any, trials: int, config: TrainConfig, splits: Splits, progress: Progress = no_progress) -> None:
    """Run trials until the study has enough of them, counting those of other workers.

    The value of a trial is its accuracy on the validation split.

    Args:
        study: from `open_study`.
        trials: number of trials, finished or pruned, at which the search ends.
        config: model, recipe and seed.
        splits: the data; the train and validation splits are used.
        progress: called with the steps of each trial.
    """
    import optuna

    train = with_forms(splits.train, splits, config.recipe.forms)
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)

    def objective(trial: Any) -> float:
        def report_progress(what: str, done: int, total: int) -> None:
            progress(f"trial {trial.number}", done, total)

        def on_epoch(epoch: int, row: dict[str, float]) -> None:
            trial.report(row["val_accuracy"], epoch)
            trial.set_user_attr("epochs", epoch + 1)
            if trial.should_prune():
                raise optuna.TrialPruned

        clear_session()
        recipe = suited(suggest_recipe(trial, config.recipe), splits.preprocessor)
        run = replace(config, recipe=recipe)
        options = FitOptions(progress=report_progress, on_epoch=on_epoch)
        try:
            model, _ = fit(run, train, splits.validation, len(splits.class_names), options)
        except StageError as error:  # the loss became NaN: count the trial as a bad recipe
            raise optuna.TrialPruned from error
        is_correct = models.outputs(model, splits.validation.images).argmax(axis=1) == splits.validation.labels
        return float(is_correct.mean())

    def count_ended() -> int:
        return sum(trial.state in ended for trial in study.get_trials(deepcopy=False))

    while count_ended() < trials:
        with _no_experimental_warnings():
            study.optimize(objective, n_trials=1)


def importance(study: Any) -> dict[str, float]:
    """Share of the accuracy's variance that each parameter explains; empty if there are too few trials.

    By functional analysis of variance (Hutter, Hoos and Leyton-Brown, 2014), Optuna's default.
    """
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    with contextlib.suppress(RuntimeError, ValueError), _no_experimental_warnings():
        return {name: round(float(share), 4) for name, share in optuna.importance.get_param_importances(study).items()}
    return {}


@contextlib.contextmanager
def _no_experimental_warnings() -> Iterator[None]:
    """Suppress Optuna's warning that heartbeats are experimental, which it gives each time that one is used."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
