"""One archive for a device without a network: wheels, models, test images, checksums, a script that installs them."""

from mnist_edge.bundling.bundle import bundle
from mnist_edge.bundling.targets import TARGETS, Target

__all__ = ["TARGETS", "Target", "bundle"]
