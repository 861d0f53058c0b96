"""One archive for a device without a network: wheels, models, test images, checksums, and a script to install them."""

from mnist_edge.bundling.bundle import Contents, bundle
from mnist_edge.bundling.targets import TARGETS, Target

__all__ = ["TARGETS", "Contents", "Target", "bundle"]
