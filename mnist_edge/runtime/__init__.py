"""All that a device needs: open a file, turn a picture into its input, ask it. No TensorFlow, no training stack."""

from mnist_edge.runtime.pictures import picture_to_pixels, read_picture
from mnist_edge.runtime.session import Session, engine_names, open_session

__all__ = ["Session", "engine_names", "open_session", "picture_to_pixels", "read_picture"]
