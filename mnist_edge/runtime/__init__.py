"""Opening model files and running them on a device, without TensorFlow and the training stack."""

from mnist_edge.runtime.session import Session, engine_names, open_session

__all__ = ["Session", "engine_names", "open_session"]
