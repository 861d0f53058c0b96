"""From a Keras model to a file that an engine runs.

One format a module, found by discovery. It defines ``NAME``, ``SUFFIX``, ``QUANTIZATIONS``, ``PACKAGES`` (packages that
its output depends on besides TensorFlow and Keras), ``SOURCES`` (files and folders of this package that its output
depends on) and ``convert(model, request) -> bytes``. It may define ``finish(content, test) -> bytes``, a last step that
is given the test images to state the accuracy on them; ``companions(content, stem)``, more files that go with one; and
``ON_DEMAND = True``: made only if it is named, because it does not know every op that a Keras model may have.
"""

from mnist_edge.conversion.export import BACKENDS, LOG_NAME, ExportConfig, export, file_name, formats
from mnist_edge.conversion.request import ConversionRequest

__all__ = ["BACKENDS", "LOG_NAME", "ConversionRequest", "ExportConfig", "export", "file_name", "formats"]
