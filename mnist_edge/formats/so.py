"""Reading a shared object that was compiled from generated C: it says of itself what the C does."""

from mnist_edge.formats.c import read

__all__ = ["read"]
NAME = "so"
SUFFIX = ".so"
