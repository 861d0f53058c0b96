"""From an int8 TFLite file to C: what is computed where (plan), its text (emit), and the kernels' (backends)."""

from mnist_edge.conversion.codegen.emit import source
from mnist_edge.conversion.codegen.header import header, with_accuracy

__all__ = ["header", "source", "with_accuracy"]
