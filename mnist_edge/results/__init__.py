"""Results of the commands: frozen dataclasses that `serialization` converts to JSON and back without loss.

Field names are the JSON keys that other people's scripts read, and are fixed. Accuracies and agreements are fractions
from 0 to 1; names end with the unit: ``_pp`` percentage points, ``_us`` microseconds, ``_ms`` milliseconds, ``_db``
decibels, ``_bytes`` bytes; ``seconds`` are seconds.
"""

from mnist_edge.results.artifact import Artifact, BoardFit, Footprint
from mnist_edge.results.health import Finding
from mnist_edge.results.measurements import BoardTiming, Int8Worth, Latency, Machine, Op, OpTime, Ratio
from mnist_edge.results.parity import (
    BoardRun,
    Changes,
    ClassChange,
    Flip,
    Flips,
    KernelReport,
    LayerError,
    ParityReport,
    SelfTest,
    TwinReport,
)
from mnist_edge.results.prediction import Evaluation, Mistake, Prediction
from mnist_edge.results.training import CrossValidation, FoldResult, Sweep, TrainResult, Trial
from mnist_edge.results.watching import Announcement, WatchSummary

SCHEMA_VERSION = 1  # of the JSON objects that commands print

__all__ = [
    "SCHEMA_VERSION",
    "Announcement",
    "Artifact",
    "BoardFit",
    "BoardRun",
    "BoardTiming",
    "Changes",
    "ClassChange",
    "CrossValidation",
    "Evaluation",
    "Finding",
    "Flip",
    "Flips",
    "FoldResult",
    "Footprint",
    "Int8Worth",
    "KernelReport",
    "Latency",
    "LayerError",
    "Machine",
    "Mistake",
    "Op",
    "OpTime",
    "ParityReport",
    "Prediction",
    "Ratio",
    "SelfTest",
    "Sweep",
    "TrainResult",
    "Trial",
    "TwinReport",
    "WatchSummary",
]
