"""Int8 TFLite to C: the file of a Keras model or any other one as C99, bit-exact with LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_edge.conversion import codegen, tflite
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.data import Split
from mnist_edge.errors import ContentError, MissingError, StageError
from mnist_edge.formats import c
from mnist_edge.int8.quantize import dequantize
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.engines import native

PACKAGES = (*tflite.PACKAGES, "mnist-edge")
SOURCES = (
    *tflite.SOURCES, "conversion/c.py", "conversion/codegen", "int8", "runtime/engines/native.py",
    "toolchains/host_cc.py",
)  # fmt: skip


def convert(model: Any, request: ConversionRequest) -> bytes:
    """C code of a Keras model, made from its int8 TFLite file; arguments and errors as for `tflite.convert`.

    Raises:
        StageError: an op has no kernel in C.
    """
    return _code(tflite.convert(model, request), request)


def convert_given(content: bytes, request: ConversionRequest) -> bytes:
    """C code of an int8 TFLite file that the user named.

    Raises:
        ContentError: an op has no kernel in C.
    """
    try:
        return _code(content, request)
    except StageError as error:
        raise ContentError(error.cause, error.remedy) from error


def _code(content: bytes, request: ConversionRequest) -> bytes:
    return codegen.source(content, request.contract, request.calibration, request.backend).encode()


def finish(content: bytes, test: Split) -> bytes:
    """The C with its accuracy on the test images in its header; unchanged if no compiler is installed to run it."""
    try:
        program = native.load(content, 1)
    except MissingError:
        return content
    answers = program.run(test.images)
    if answers.shape[1] == 1:  # a sigmoid: the second class, if it is above one half
        labels = (dequantize(answers[:, 0], program.output.scale or 1.0, program.output.zero_point) > 0.5).astype(
            np.int64
        )
    else:
        labels = answers.argmax(axis=1)
    right = labels == test.labels
    return codegen.with_accuracy(content.decode(), c.facts_of(content), float(right.mean()), len(right)).encode()


def companions(content: bytes, stem: str) -> dict[str, bytes]:
    """The header file that belongs to a ``.c``, by file name."""
    return {f"{stem}.h": codegen.header(c.facts_of(content)).encode()}


CONVERTER = Converter(
    "c", ".c", (Precision.INT8,), PACKAGES, SOURCES, convert, {".tflite": convert_given},
    finish=finish, companions=companions, on_demand=True,
)  # fmt: skip
