"""From an int8 TFLite file to C: what is computed where (plan), its text (emit), and the kernels' (backends)."""

from mnist_edge.conversion.codegen.emit import header, source

__all__ = ["header", "source"]
