"""Results of ``train``, ``cross-validate`` and ``sweep``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FoldResult:
    """One fold of a cross-validation with one seed.

    Attributes:
        fold: number of the fold, from 0.
        seed: of the split into folds and of the training.
        n: number of images in the fold, on which the model was not trained.
        correct: number of them that were answered right.
        accuracy: ``correct / n``.
        accuracy_ci95: its 95 % interval (Wilson).
        seconds: time of the training.
    """

    fold: int
    seed: int
    n: int
    correct: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    seconds: float


@dataclass(frozen=True)
class CrossValidation:
    """All folds and seeds of a cross-validation.

    Attributes:
        model: name of the model.
        recipe: name of the recipe.
        folds: one entry for each fold and seed.
        pooled_n: number of answers over all folds and seeds: every image counts once for each seed.
        pooled_correct: number of right answers among them.
        pooled_accuracy: ``pooled_correct / pooled_n``.
        pooled_accuracy_ci95: its 95 % interval (Wilson) for the number of images, since more seeds add no images.
        mean: mean accuracy of the folds.
        sd: standard deviation of the folds' accuracies.
        plot: path of the SVG.
    """

    model: str
    recipe: str
    folds: tuple[FoldResult, ...]
    pooled_n: int
    pooled_correct: int
    pooled_accuracy: float
    pooled_accuracy_ci95: tuple[float, float]
    mean: float
    sd: float
    plot: str


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep.

    Attributes:
        number: of the trial, from 0.
        state: Optuna's state in lower case, such as ``complete`` or ``pruned``.
        accuracy: on the validation split; None if the trial was not completed.
        epochs: number of epochs that were trained.
        seconds: time of the trial.
        parameters: the values that were tried, by name.
    """

    number: int
    state: str
    accuracy: float | None
    epochs: int
    seconds: float
    parameters: dict[str, float | int | str]


@dataclass(frozen=True)
class Sweep:
    """An Optuna study.

    Attributes:
        study: its name.
        storage: URL of its database, without the password.
        model: name or path of the model.
        trials: in the order of their numbers.
        best: number of the trial with the highest accuracy; None if none was completed.
        importance: importance of each parameter; the values sum to 1.
        plots: paths of the SVGs.
    """

    study: str
    storage: str
    model: str
    trials: tuple[Trial, ...]
    best: int | None
    importance: dict[str, float]
    plots: tuple[str, ...]


@dataclass(frozen=True)
class TrainResult:
    """A trained model on disk.

    Attributes:
        path: of ``model.keras``.
        reference: path of ``reference.npz``, the float answers.
        model: name or path of the model, as it was given.
        recipe: name of the recipe.
        parameters: number of parameters.
        epochs: number of epochs that were trained.
        test_accuracy: share of the test images that were answered right.
        test_n: number of test images.
        seconds: time of the training.
        fresh: True if this command trained the model; False if it existed and was up to date.
        page: path of ``training.html``; empty if it was not written.
    """

    path: str
    reference: str
    model: str
    recipe: str
    parameters: int
    epochs: int
    test_accuracy: float
    test_n: int
    seconds: float
    fresh: bool
    page: str = ""
