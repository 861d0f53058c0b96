"""Results of the search for a repair of a failed int8 file, and of the search for the cause."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One conversion that was tried, judged on validation images. Figures are None if there is no file.

    Attributes:
        format: name of the format.
        what: what was changed.
        size_bytes: of the file.
        n: number of validation images.
        accuracy, reference_accuracy: shares of right answers, of the file and of the float model.
        brier, reference_brier: mean Brier scores of the probabilities; None if they are not finite.
        p50_us: median time of a call with one image, in microseconds; a short measurement in a busy process, to compare
            attempts of one run.
        engine: the engine that decided: the first one on which the file did not pass, else the first.
        passed: whether the file passed on every engine.
        rule, verdict: of the gate, on that engine. Without a file: ``impossible`` and the cause.
        float_layers: layers that stay in float.
    """

    format: str
    what: str
    passed: bool
    rule: str
    verdict: str
    size_bytes: int | None = None
    n: int | None = None
    accuracy: float | None = None
    reference_accuracy: float | None = None
    brier: float | None = None
    reference_brier: float | None = None
    p50_us: float | None = None
    engine: str | None = None
    float_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerFault:
    """The layer that loses most of its information in an int8 file, and the likely cause.

    Attributes:
        layer: of the model that the file was made from. op: the kind of its op. tensor: name of the op's result.
        cause: ``saturation``: values lie outside of the range of the result; ``range``: its range is too wide for 256
            steps; ``weights``: the rounded weights and inputs; ``none``: no layer loses much.
        low, high: smallest and largest float value of the result.
        grid_low, grid_high: the values that the int8 result can take; None if it is not quantized.
        step: between two of these values.
        saturated: share of the float values that lie outside.
        lost: number of channels of which rounding removes at least half of the variance. channels: how many there are.
        error: mean over the channels of the error's variance divided by the signal's, each at most 1: the op alone,
            given the float values.
    """

    layer: str
    op: str
    tensor: str
    cause: str
    low: float
    high: float
    grid_low: float | None
    grid_high: float | None
    step: float | None
    saturated: float
    lost: int
    channels: int
    error: float


@dataclass(frozen=True)
class Advice:
    """What to do about a file that failed.

    Attributes:
        path: the file. n: number of validation images that the class and the layer were measured on.
        fault: the worst layer; None if the layers cannot be compared.
        lost_class: the class with the largest loss of recall; None if no class loses.
        lost_class_pp: this loss, in percentage points.
        sentences: the above in words. command: to try next; None if there is none.
    """

    path: str
    n: int
    fault: LayerFault | None
    lost_class: str | None
    lost_class_pp: float | None
    sentences: tuple[str, ...]
    command: str | None
