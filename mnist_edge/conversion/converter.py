"""The interface of a converter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.data import Split
from mnist_edge.results.precision import Precision
from mnist_edge.store.workspace import KERAS_SUFFIX


@dataclass(frozen=True)
class Converter:
    """A format that models are exported to.

    Attributes:
        name: as ``--format`` takes it.
        suffix: of the files, with the dot.
        precisions: that the converter can make.
        packages: distributions on which the content depends, besides TensorFlow and Keras.
        sources: files and folders, relative to the package's folder, on whose code the content depends: if it changes,
            existing files are outdated.
        convert: takes a Keras model and a request, and returns the content of the file.
        convert_from: the same for other models, by suffix: each function takes the content of the model's file.
        finish: takes that content and the test images, and returns the content with its accuracy on them.
        companions: takes the content and the stem of the file's name, and returns further files by name.
        convert_int8: makes the content that ``convert`` makes, of the int8 TFLite file of the same conversion.
        on_demand: True if the format supports only a part of Keras's layers: ``--format all`` makes it if it can.
        in_all: whether ``--format all`` makes it at all.
        compiler: names a compiler on which the content depends, with its version; None if there is none. It raises
            `MissingError` if the compiler is not installed.
    """

    name: str
    suffix: str
    precisions: tuple[Precision, ...]
    packages: tuple[str, ...]
    sources: tuple[str, ...]
    convert: Callable[[Any, ConversionRequest], bytes]
    convert_from: Mapping[str, Callable[[bytes, ConversionRequest], bytes]] = field(default_factory=dict)
    finish: Callable[[bytes, Split], bytes] | None = None
    companions: Callable[[bytes, str], dict[str, bytes]] | None = None
    convert_int8: Callable[[bytes, ConversionRequest], bytes] | None = None
    on_demand: bool = False
    in_all: bool = True
    compiler: Callable[[], str] | None = None

    def takes(self, suffix: str) -> bool:
        """Whether files are made from models with this suffix."""
        return suffix == KERAS_SUFFIX or suffix in self.convert_from
