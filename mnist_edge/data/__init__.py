"""Data sets: found or downloaded, verified, parsed and split into train, validation, calibration and test images."""

from mnist_edge.data.load import load, load_test
from mnist_edge.data.splits import Split, Splits, add_channel, fits, image_digests, joined, one_hot, take

__all__ = [
    "Split",
    "Splits",
    "add_channel",
    "fits",
    "image_digests",
    "joined",
    "load",
    "load_test",
    "one_hot",
    "take",
]
