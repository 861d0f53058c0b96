"""What a converter is: how it describes itself, and the function that makes a file of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.data import Split
from mnist_edge.results.precision import Precision


@dataclass(frozen=True)
class Converter:
    """A format that Keras models are exported to.

    Attributes:
        name: what ``--format`` takes. suffix: of its files, with the dot.
        precisions: those that it makes.
        packages: distributions that its output depends on besides TensorFlow and Keras.
        sources: files and folders of this package that its output depends on; a change of them makes files outdated.
        convert: makes the content of a file of a Keras model.
        finish: a last step, which is given the test images to state the accuracy on them.
        companions: further files that belong to one, by name, from its content and its stem.
        on_demand: it is made only if it is named, because it does not know every op that a Keras model may have.
    """

    name: str
    suffix: str
    precisions: tuple[Precision, ...]
    packages: tuple[str, ...]
    sources: tuple[str, ...]
    convert: Callable[[Any, ConversionRequest], bytes]
    finish: Callable[[bytes, Split], bytes] | None = None
    companions: Callable[[bytes, str], dict[str, bytes]] | None = None
    on_demand: bool = False
