"""Results of ``verify``: comparisons of a file with the float model, between engines, and on another machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Flips:
    """How many answers changed between wrong and right.

    Attributes:
        fixed: number of images that were answered wrong before and right after.
        broken: number of images that were answered right before and wrong after.
    """

    fixed: int
    broken: int


@dataclass(frozen=True)
class Flip:
    """One image whose answer changed.

    Attributes:
        index: its row in the test set.
        label: its true class.
        before: the class answered before.
        after: the class answered after.
        margin_before: probability of the answer before, minus that of the second-best class.
        margin_after: the same after.
    """

    index: int
    label: int
    before: int
    after: int
    margin_before: float
    margin_after: float


@dataclass(frozen=True)
class ClassChange:
    """Recall of one class before and after.

    Attributes:
        name: of the class.
        n: number of test images of the class.
        recall_before: share of them that was answered right before; None if there are none.
        recall_after: the same after.
    """

    name: str
    n: int
    recall_before: float | None
    recall_after: float | None


@dataclass(frozen=True)
class Changes:
    """Differences between two sets of answers to the same images; `mnist_edge.parity.changes` computes them.

    Attributes:
        flips: every image whose answer changed.
        classes: one entry for each class.
        confusion_before: a row for each true class, a column for each answer; empty with more than 100 classes.
        confusion_after: the same after.
        max_abs_difference: largest change of a probability.
        mean_abs_difference: mean change of a probability.
        mean_js_divergence_bits: mean Jensen-Shannon divergence of an image's probabilities, in bits.
        calibration_error_before: expected calibration error (ECE), a fraction.
        calibration_error_after: the same after.
        ties_before: number of images whose two best classes had the same probability.
        ties_after: the same after.
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
    """The answers of two engines to the same images with the same file.

    Attributes:
        path: the file.
        engine: the first engine.
        other: the second engine, or a set of kernels.
        n: number of images.
        differing: rows of the images for which the engines answer different classes.
        max_abs_difference: largest difference of a probability.
        max_lsb: the same in steps of the file's integer output; None for a file with float output.
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
    """The error of one quantized op: its result compared with the float export's, on the same images.

    Fields without a prefix compare the op in the whole file, with the errors of all ops before it; ``isolated_`` fields
    compare the op alone, given the float export's values as its input. `mnist_edge.parity.layers` computes them.

    Attributes:
        op: kind of the op, in the file's format.
        layer: the Keras layer that the op comes from.
        tensor: name of the op's result.
        shape: of the result, without the batch dimension.
        scale: of the result's quantization; None if it is not quantized per tensor.
        zero_point: as ``scale``.
        sqnr_db: signal-to-quantization-noise ratio in dB; None if there is no error.
        cosine: cosine similarity of the two results: 1 if they are proportional.
        max_abs_error: largest absolute error, in the real values that the tensor stands for.
        saturated: share of values that were clipped to an end of the quantized range.
        isolated_sqnr_db: as ``sqnr_db``.
        isolated_cosine: as ``cosine``.
        isolated_max_abs_error: as ``max_abs_error``.
        isolated_saturated: as ``saturated``.
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
    """Whether a file on an engine gives the answers to the golden set that it gave on the build machine.

    Attributes:
        path: the file.
        engine: the engine.
        passed: whether every probability is within the tolerance, and the tolerance explains every changed label.
        n: number of images in the golden set.
        differing: rows of the images whose label changed.
        max_abs_difference: largest difference of a probability; 1 if the file answers with NaN or infinity.
        tolerance: largest difference that is allowed.
    """

    path: str
    engine: str
    passed: bool
    n: int
    differing: tuple[int, ...]
    max_abs_difference: float
    tolerance: float


@dataclass(frozen=True)
class TwinReport:
    """A quantized file compared with its float export on the same engine: the effect of quantization alone.

    Attributes:
        path: the float export.
        drop_pp: accuracy of the float export minus that of the quantized file, in percentage points.
        agreement: share of images with the same answer, a fraction.
        flips: changes from the float export to the quantized file.
    """

    path: str
    drop_pp: float
    agreement: float
    flips: Flips


@dataclass(frozen=True)
class BoardRun:
    """What a microcontroller answered, compared with the same generated C on this machine.

    Attributes:
        board: as ``--board`` names it. kernels: that the net ran on.
        n: number of images that the board answered. differing: number of these answers that differ, bit for bit.
        stack_bytes: most stack that a call used; None if the board cannot measure it.
        median_cycles: of a call; None if the board does not count cycles, as an emulated one. max_cycles: the most.
        repeated_requests: number of requests that were sent again because they or their answers were lost.
        layer: first layer whose outputs differ, for the first image whose answer differs; None if no answer differs,
            or the firmware has no taps.
    """

    board: str
    kernels: str
    n: int
    differing: int
    stack_bytes: int | None
    median_cycles: int | None
    max_cycles: int | None
    repeated_requests: int
    layer: str | None = None


@dataclass(frozen=True)
class ParityReport:
    """One file on one engine compared with the float model's answers, and the gate's decision.

    Fields of probabilities (``changes``, ``brier`` and all fields after it) are None if there is nothing to compare, as
    when an engine refuses the file; `mnist_edge.parity.probabilities.ProbabilityChange` explains them.

    Attributes:
        path: the file.
        engine: the engine.
        passed: the gate's decision.
        rule: name of the rule that decided.
        verdict: the decision and its reason, in a sentence.
        n: number of test images.
        accuracy: of the file, a fraction.
        reference_accuracy: of the float model, a fraction.
        drop_pp: accuracy of the float model minus that of the file, in percentage points.
        drop_ci95_pp: two-sided 95 % interval of ``drop_pp``.
        drop_upper95_pp: one-sided 95 % upper bound of ``drop_pp``.
        mcnemar_p: p-value of the exact two-sided McNemar test.
        agreement: share of images with the same answer, a fraction.
        flips: changes from the float model to the file.
        detectable_drop_pp: smallest true drop that the McNemar test finds on these images with a power of 80 %, in
            percentage points.
        verified_hash: whether the manifest lists the file's SHA-256.
        changes: differences image by image and class by class.
        twin: the comparison with the float export; None if there is none.
        brier: mean Brier score of the file.
        reference_brier: mean Brier score of the float model.
        brier_increase: ``brier`` minus ``reference_brier``.
        brier_increase_upper95: its one-sided 95 % upper bound; None if it is infinite.
        probability_distance: mean squared distance of the probabilities, relative to the float model's uncertainty.
        probability_distance_upper95: its one-sided 95 % upper bound; None if it is infinite.
        images_needed: about how many test images would decide, if ``rule`` is ``undecidable`` or ``drop-bound``; None
            if no number would, or if the rule is another one.
        size_bytes: size of the file.
        seconds: time of the whole check.
        image_us: time that the engine took for the test images in batches, divided by their number. It is not the
            latency of one call, which ``bench`` measures.
        allowed_changes: how many answers may change to a wrong class.
        tied_changes: how many of these changes rounding explains: the file gives the float model's class and the new
            class the same probability. They count only if ``--min-agreement`` is given.
        board: what the board answered; None if no board ran the file.
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
    board: BoardRun | None = None
