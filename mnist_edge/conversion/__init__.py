"""From a Keras model to a file that an engine runs.

One format a module, found by discovery: it defines ``NAME``, ``SUFFIX``, ``QUANTIZATIONS``, ``PACKAGES`` (what its
output depends on besides TensorFlow and Keras) and ``convert(model, request) -> bytes``. It may define besides
``finish(content, test) -> bytes``, a last step that is told the test images, to say what it reaches on them;
``companions(content, stem)``, more files that go with one; and ``ON_DEMAND = True``: made only where it is named, for
it does not know every op that a Keras model may have.
"""

from mnist_edge.conversion.export import ExportConfig, export, file_name, formats
from mnist_edge.conversion.request import ConversionRequest

__all__ = ["ConversionRequest", "ExportConfig", "export", "file_name", "formats"]
