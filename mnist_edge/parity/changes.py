"""Differences between the answers before and after quantization, for each image and each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_edge.parity.answers import answers, margins
from mnist_edge.results import Changes, ClassChange, Flip

CALIBRATION_BINS = 15
# Largest number of classes with confusion matrices in the verdict. With 1,000 classes a manifest would exceed 16 MiB.
MAX_CONFUSION_CLASSES = 100


def changes(
    before: NDArray[np.float32], after: NDArray[np.float32], labels: NDArray[np.int64], class_names: tuple[str, ...]
) -> Changes:
    """Compare the probabilities of the float model and of a quantized file.

    Args:
        before: the float model's probabilities, float32 (n, classes).
        after: the quantized file's probabilities, float32 (n, classes), finite.
        labels: int64 (n,).
        class_names: one for each class.
    """
    old, new = answers(before), answers(after)
    old_margin, new_margin = margins(before), margins(after)
    moved = np.flatnonzero(old != new)
    difference = np.abs(after - before)
    classes = len(class_names)
    return Changes(
        flips=tuple(
            Flip(int(i), int(labels[i]), int(old[i]), int(new[i]), float(old_margin[i]), float(new_margin[i]))
            for i in moved
        ),
        classes=tuple(
            ClassChange(name, int(group.sum()), _share(old[group] == label), _share(new[group] == label))
            for label, (name, group) in enumerate((name, labels == label) for label, name in enumerate(class_names))
        ),
        confusion_before=confusion(old, labels, classes) if classes <= MAX_CONFUSION_CLASSES else (),
        confusion_after=confusion(new, labels, classes) if classes <= MAX_CONFUSION_CLASSES else (),
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        mean_js_divergence_bits=float(js_divergence(before, after).mean()),
        calibration_error_before=calibration_error(before, labels),
        calibration_error_after=calibration_error(after, labels),
        ties_before=int((old_margin == 0).sum()),
        ties_after=int((new_margin == 0).sum()),
    )


def confusion(found: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> tuple[tuple[int, ...], ...]:
    """Confusion matrix: one row for each true class, one column for each answer.

    Args:
        found: answers, int64 (n,), from 0 to ``classes`` - 1. labels: int64 (n,). classes: number of classes.
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, found), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)


def js_divergence(p: NDArray[np.float32], q: NDArray[np.float32]) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of each pair of rows of two arrays (n, classes), in bits: float64 (n,), from 0 to 1.

    The rows are normalized first, because rounding to an output grid leaves sums that are not exactly 1.

    Source: J. Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Information Theory 37 (1991).
    """
    a, b = (_normalized(x) for x in (p, q))
    middle = (a + b) / 2
    return np.maximum((_relative_entropy(a, middle) + _relative_entropy(b, middle)) / 2, 0.0)


def _normalized(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Divide each row by its sum; a row of zeros becomes uniform.

    An 8-bit output grid can round all probabilities to zero if there are very many classes.
    """
    sums = rows.sum(axis=1, keepdims=True, dtype=np.float64)
    uniform = np.full(rows.shape, 1 / rows.shape[1])
    return np.divide(rows.astype(np.float64), sums, out=uniform, where=sums > 0)


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=1), np.float64)


def calibration_error(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Expected calibration error, a fraction: mean distance of confidence and accuracy over 15 bins of equal width.

    Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.

    Args:
        probabilities: float32 (n, classes). labels: int64 (n,).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = answers(probabilities) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = (abs(float(right[bins == b].sum()) - float(confidence[bins == b].sum())) for b in range(CALIBRATION_BINS))
    return sum(gaps) / len(labels)


def _share(right: NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if len(right) else None
