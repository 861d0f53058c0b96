"""C code from an int8 TFLite file.

`plan` decides what is computed and where it lies in memory, `packing` arranges the weights, `emit` writes the text, and
`kernel_table` and `backends` add the kernels, whose code is in ``kernels/``.
"""

from mnist_edge.conversion.codegen.emit import source
from mnist_edge.conversion.codegen.header import header, with_accuracy

__all__ = ["header", "source", "with_accuracy"]
