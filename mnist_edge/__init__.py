"""From a Keras image classifier to a proven int8 file on a small device.

The pipeline is in the folder names: ``data`` → ``models`` → ``training`` → ``conversion`` → ``parity``, and ``runtime``
for the device. ``data``, ``formats``, ``parity`` and ``runtime`` never need TensorFlow.
"""

__version__ = "0.1.0"
