"""From a Keras model to a file that an engine runs.

One format a module, found by discovery: it defines ``NAME``, ``SUFFIX``, ``QUANTIZATIONS``, ``PACKAGES`` (what its
output depends on besides TensorFlow and Keras) and ``convert(model, request) -> bytes``. It may define besides
``companions(content, stem)``, more files that go with one, and ``available()``: whether one can be proven here.
"""

from mnist_edge.conversion.export import ExportConfig, export, file_name, formats, provable
from mnist_edge.conversion.request import ConversionRequest

__all__ = ["ConversionRequest", "ExportConfig", "export", "file_name", "formats", "provable"]
