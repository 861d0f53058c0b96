"""What the stages return: frozen dataclasses that go to JSON and come back the same.

The field names are the JSON keys that other people's scripts read. Accuracies are fractions, ``_pp`` are percentage
points, ``_us`` microseconds, ``_bytes`` bytes.
"""

from mnist_edge.results.health import Finding
from mnist_edge.results.judged import (
    Artifact,
    Changes,
    ClassChange,
    Evaluation,
    Flip,
    Flips,
    Footprint,
    KernelReport,
    LayerError,
    Mistake,
    ParityReport,
    Prediction,
    SelfTest,
    TwinReport,
)
from mnist_edge.results.measured import Latency, Machine, Ratio
from mnist_edge.results.training import CrossValidation, FoldResult, Sweep, TrainResult, Trial

SCHEMA_VERSION = 1

__all__ = [
    "SCHEMA_VERSION",
    "Artifact",
    "Changes",
    "ClassChange",
    "CrossValidation",
    "Evaluation",
    "Finding",
    "Flip",
    "Flips",
    "FoldResult",
    "Footprint",
    "KernelReport",
    "Latency",
    "LayerError",
    "Machine",
    "Mistake",
    "ParityReport",
    "Prediction",
    "Ratio",
    "SelfTest",
    "Sweep",
    "TrainResult",
    "Trial",
    "TwinReport",
]
