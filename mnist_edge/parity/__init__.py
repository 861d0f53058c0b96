"""Comparison of a quantized file with the float model: statistics, gate and verdict. Needs NumPy and an engine only."""

from mnist_edge.parity.compare import compare
from mnist_edge.parity.gate import Gate
from mnist_edge.parity.verify import evaluate, verify

__all__ = ["Gate", "compare", "evaluate", "verify"]
