"""Is the small file as good as the big one? Statistics, comparison, verdict; numpy alone, so it runs on a Pi."""

from mnist_edge.parity.compare import compare
from mnist_edge.parity.gate import Gate
from mnist_edge.parity.verify import evaluate, verify

__all__ = ["Gate", "compare", "evaluate", "verify"]
