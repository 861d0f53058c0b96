"""Catalogue of data sets that are recognized by the hashes of their files, with class names and preprocessor."""

from __future__ import annotations

from dataclasses import dataclass

# Usual file name of each part of a data set.
FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
TEST_ROLES = ("test_images", "test_labels")

# SHA-256 of the uncompressed MNIST files.
MNIST_SHA256 = {
    "train_images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train_labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test_images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test_labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about a data set that its files do not hold."""

    name: str
    class_names: tuple[str, ...]
    preprocessor: str


MNIST = DatasetFacts("mnist", tuple("0123456789"), "digit")
MNIST_IMAGE = (28, 28)  # height and width
FASHION_MNIST = DatasetFacts(
    "fashion-mnist",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "resize",
)
# Data sets by the SHA-256 of their uncompressed test labels.
BY_TEST_LABELS = {
    MNIST_SHA256["test_labels"]: MNIST,
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": FASHION_MNIST,
}
