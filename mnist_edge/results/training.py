"""What training and its experiments return."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FoldResult:
    """One fold of a cross-validation, with one seed: how many of the images left out were read right."""

    fold: int
    seed: int
    n: int
    correct: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    seconds: float


@dataclass(frozen=True)
class CrossValidation:
    """All folds. ``pooled`` counts every image once a seed; ``sd`` is the standard deviation between folds."""

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
    """One trial of a sweep; ``accuracy`` on the validation split is None where it was not finished."""

    number: int
    state: str
    accuracy: float | None
    epochs: int
    seconds: float
    parameters: dict[str, float | int | str]


@dataclass(frozen=True)
class Sweep:
    """A study: its trials, the best of them, and what mattered (shares that sum to 1)."""

    study: str
    storage: str
    model: str
    trials: tuple[Trial, ...]
    best: int | None
    importance: dict[str, float]
    plots: tuple[str, ...]


@dataclass(frozen=True)
class TrainResult:
    """A trained model on disk. ``fresh`` is False where it was there already and its inputs had not changed."""

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
