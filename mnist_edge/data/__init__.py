"""Images and labels: found or fetched, verified, parsed, and split once for everybody."""

from mnist_edge.data.load import load, load_test
from mnist_edge.data.splits import Split, Splits, add_channel, image_digests, joined, one_hot, scale_pixels, take

__all__ = [
    "Split",
    "Splits",
    "add_channel",
    "image_digests",
    "joined",
    "load",
    "load_test",
    "one_hot",
    "scale_pixels",
    "take",
]
