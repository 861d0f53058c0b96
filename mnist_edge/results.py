"""What the stages return: frozen dataclasses that go to JSON and come back the same.

The field names are the JSON keys that other people's scripts read. Accuracies are fractions, ``_pp`` are percentage
points, ``_us`` microseconds, ``_bytes`` bytes.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

SCHEMA_VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True)
class Flips:
    """How the answers moved: ``fixed`` were wrong before and are right now, ``broken`` the other way round."""

    fixed: int
    broken: int


@dataclass(frozen=True)
class Flip:
    """One image whose answer moved: its row in the test set, and by how much each answer led the second best."""

    index: int
    label: int
    before: int
    after: int
    margin_before: float
    margin_after: float


@dataclass(frozen=True)
class ClassChange:
    """Recall of one class before and after; None where the test set has no image of it."""

    name: str
    n: int
    recall_before: float | None
    recall_after: float | None


@dataclass(frozen=True)
class Changes:
    """What moved between two sets of answers. Confusion: a row a true class, a column an answer."""

    flips: tuple[Flip, ...]
    classes: tuple[ClassChange, ...]
    confusion_before: tuple[tuple[int, ...], ...]
    confusion_after: tuple[tuple[int, ...], ...]
    max_abs_difference: float
    mean_abs_difference: float
    mean_js_divergence_bits: float
    calibration_error_before: float
    calibration_error_after: float
    ties_before: int
    ties_after: int


@dataclass(frozen=True)
class KernelReport:
    """The same file on two engines: where their labels differ, and by how much their answers do.

    ``max_lsb`` counts steps of the file's integer output; None for a file with float output.
    """

    path: str
    engine: str
    other: str
    n: int
    differing: tuple[int, ...]
    max_abs_difference: float
    max_lsb: float | None


@dataclass(frozen=True)
class LayerError:
    """One quantized op against the float twin, on the same images; ``sqnr_db`` is None where there is no error at all.

    ``isolated_``: the op alone, fed with the float twin's own input. Without: in its place, with all that came before.
    """

    op: str
    layer: str
    tensor: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    sqnr_db: float | None
    cosine: float
    max_abs_error: float
    saturated: float
    isolated_sqnr_db: float | None
    isolated_cosine: float
    isolated_max_abs_error: float
    isolated_saturated: float


@dataclass(frozen=True)
class SelfTest:
    """Whether a file on an engine says here what it said on the build machine."""

    path: str
    engine: str
    passed: bool
    n: int
    differing: tuple[int, ...]
    max_abs_difference: float
    tolerance: float


@dataclass(frozen=True)
class ParityReport:
    """One file on one engine against a reference: ``drop_pp`` is the reference's accuracy minus this file's."""

    path: str
    engine: str
    passed: bool
    rule: str
    verdict: str
    n: int
    accuracy: float
    reference_accuracy: float
    drop_pp: float
    drop_ci95_pp: tuple[float, float]
    drop_upper95_pp: float
    mcnemar_p: float
    agreement: float
    flips: Flips
    detectable_drop_pp: float
    verified_hash: bool
    changes: Changes | None = None
    twin: TwinReport | None = None


@dataclass(frozen=True)
class TwinReport:
    """The same file against its own float twin, on the same engine: what the quantization alone has done."""

    path: str
    drop_pp: float
    agreement: float
    flips: Flips


@dataclass(frozen=True)
class Mistake:
    """One image that was read wrong: its row in the test set, and how sure the answer was."""

    index: int
    label: int
    answer: int
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of one file on one engine, with its 95 % interval. Confusion: a row a true class, a column an answer."""

    path: str
    engine: str
    n: int
    correct: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    confusion: tuple[tuple[int, ...], ...] = ()
    mistakes: tuple[Mistake, ...] = ()


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
class Prediction:
    """One picture's answer; ``label`` and the rest are None where ``error`` says why there is none."""

    path: str
    label: int | None = None
    name: str | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Artifact:
    """One exported file. ``quantization`` is ``int8``, ``float16`` or ``float32``; ``fresh`` says it was made now."""

    path: str
    format: str
    model: str
    quantization: str
    sha256: str
    size_bytes: int
    fresh: bool
    parity: tuple[ParityReport, ...] = ()
    kernels: tuple[KernelReport, ...] = ()


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


@dataclass(frozen=True)
class Latency:
    """What one file costs on one engine: calls of `Session.predict`, with ``batch`` images each.

    ``_us`` are of a call; ``images_per_s`` follows from the median. ``start_ms`` is from the start of a new process to
    its first answer, of which ``import_ms``, ``load_ms`` and ``first_ms`` (the first call) are parts. ``delegate`` is
    what the engine was observed to use. ``clock_us`` is what reading the clock twice costs, which is in every figure.
    """

    path: str
    engine: str
    threads: int
    batch: int
    n: int
    warmup: int
    p50_us: float
    p90_us: float
    p99_us: float
    p99_9_us: float
    min_us: float
    iqr_us: float
    images_per_s: float
    clock_us: float
    start_ms: float
    import_ms: float
    load_ms: float
    first_ms: float
    peak_rss_bytes: int
    size_bytes: int
    delegate: str
    version: str
    samples_us: tuple[float, ...] = ()


@dataclass(frozen=True)
class Machine:
    """Where it was measured, as far as the system tells; None where it does not.

    ``throttled`` is what ``vcgencmd get_throttled`` says on a Raspberry Pi: bits 0 to 3 now, 16 to 19 since the start.
    """

    processor: str
    cores: int
    architecture: str
    board: str | None
    system: str
    kernel: str
    python: str
    governor: str | None
    clock_mhz: float | None
    temperature_c: float | None
    throttled: str | None
    load: float


@dataclass(frozen=True)
class Ratio:
    """The median of one run over that of another, with its bootstrap interval: below 1 is faster."""

    name: str
    engine: str
    threads: int
    batch: int
    before_us: float
    after_us: float
    ratio: float
    ratio_ci95: tuple[float, float] | None


def to_json(value: Any) -> Any:
    """A result as a JSON value: dataclasses become objects, tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], value: Any) -> T:
    """The inverse of `to_json` for a result class. Unknown keys are ignored, so that newer files can be read.

    Raises:
        KeyError: a field without a default is absent.
    """
    return typing.cast(T, _build(kind, value))


def _build(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(
            **{
                field.name: _build(hints[field.name], value[field.name])
                for field in dataclasses.fields(kind)
                if field.name in value or field.default is dataclasses.MISSING
            }
        )
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _build(next(item for item in arguments if item is not type(None)), value)
    if origin is tuple:
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_build(item, part) for item, part in zip(items, value, strict=True))
    return float(value) if kind is float else value
