"""All that a device needs: open a model file, and ask it. No TensorFlow, no training stack."""

from mnist_edge.runtime.session import Session, engine_names, open_session

__all__ = ["Session", "engine_names", "open_session"]
