"""What exporting, judging and predicting return."""

from __future__ import annotations

from dataclasses import dataclass


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
    """What moved between two sets of answers.

    Confusion: a row for each true class, a column for each answer; empty if there are more than 100 classes.
    """

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
    """One file on one engine against a reference: ``drop_pp`` is the reference's accuracy minus this file's.

    The figures of the probabilities are explained at `mnist_edge.parity.probabilities.ProbabilityChange`; they are None
    if there is nothing to compare. ``images_needed``: about how many images would decide, if the rule is
    ``undecidable`` or ``drop-bound``; None if no number would. ``allowed_changes``: how many answers may change without
    being corrected; of those that did, ``tied_changes`` have the same probability for the float model's label and count
    only if ``--min-agreement`` is given. ``seconds`` is the time of the whole check, ``image_us`` the time that the
    engine took for the test images, in batches, divided by their number: no latency, which is what ``bench`` measures.
    """

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
    brier: float | None = None
    reference_brier: float | None = None
    brier_increase: float | None = None
    brier_increase_upper95: float | None = None
    probability_distance: float | None = None
    probability_distance_upper95: float | None = None
    images_needed: int | None = None
    size_bytes: int | None = None
    seconds: float | None = None
    image_us: float | None = None
    allowed_changes: int | None = None
    tied_changes: int | None = None


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
class Prediction:
    """One picture's answer, or that of one digit in it.

    ``label`` and the rest are None where ``reason`` says why there is no digit, or ``error`` why there is no picture.
    ``box`` is where the digit is: left, top, width and height in the picture's pixels.
    """

    path: str
    label: int | None = None
    name: str | None = None
    confidence: float | None = None
    probabilities: tuple[float, ...] | None = None
    box: tuple[int, int, int, int] | None = None
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Footprint:
    """What generated code takes of a microcontroller.

    ``compiled_for`` is the processor that it was compiled for to see; where that is None, for want of a compiler,
    ``flash_bytes`` are the constants alone (its instructions are some 2 KB) and ``stack_bytes`` is None. ``ram_bytes``
    are the scratch buffer, one image and one answer; the stack, without that of the C library's memcpy, comes on top.
    """

    path: str
    compiled_for: str | None
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int | None


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
