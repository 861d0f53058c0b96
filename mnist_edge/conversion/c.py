"""Keras to C: the int8 TFLite file as one C99 file, bit-exact with LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.conversion import codegen, tflite
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.data import Split
from mnist_edge.errors import MissingError
from mnist_edge.formats import Contract, ModelStructure, c, structure
from mnist_edge.formats import tflite as tflite_format
from mnist_edge.formats.model_structure import CHANNELS, FEATURES
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
    content = tflite.convert(model, request)
    return codegen.source(content, request.contract, request.calibration, request.backend).encode()


def from_tflite(content: bytes, name: str, inputs: NDArray[Any] | None = None, backend: str = "all") -> bytes:
    """C code of an int8 TFLite file from anywhere.

    If mnist-edge made the file for images, the code takes uint8 pixels, as code of a Keras model does. Otherwise it
    takes the values of the file's input, int8 or uint8, whose scale and zero point are in the header.

    Args:
        content: the file. name: prefix of the functions, if the file has no contract.
        inputs: typical inputs (n, ...), as the code takes them; they decide the order of channels, which changes only
            the speed. backend: see `ConversionRequest.backend`.

    Raises:
        ContentError: the file is damaged.
        StageError: it is not int8, or an op has no kernel in C.
    """
    file = tflite_format.read(content)
    structure.check(file, tflite_format.ALLOWED)
    contract = file.contract
    takes_pixels = contract is not None and contract.preprocessor != FEATURES and file.inputs[0].dtype == "uint8"
    if contract is None:
        contract = _default_contract(file, name)
    return codegen.source(content, contract, inputs, backend, takes_pixels).encode()


def _default_contract(file: ModelStructure, name: str) -> Contract:
    """The contract of a file from elsewhere, as `mnist_edge.runtime.session` assumes it."""
    shape, values = file.inputs[0].shape[1:], file.outputs[0].shape[-1]
    is_image = len(shape) == 3 and shape[2] in CHANNELS
    return Contract(
        name, tuple(map(str, range(max(values, 2)))), "int8", "resize" if is_image else FEATURES,
        reference_sha256="", tool_version=__version__, pixel_scale=1 / 255 if is_image else 1.0,
        output="sigmoid" if values == 1 else "probabilities",
    )  # fmt: skip


def finish(content: bytes, test: Split) -> bytes:
    """The C with its accuracy on the test images in its header; unchanged if no compiler is installed to run it."""
    try:
        program = native.load(content, 1)
    except MissingError:
        return content
    right = program.run(test.images).argmax(axis=1) == test.labels
    return codegen.with_accuracy(content.decode(), c.facts_of(content), float(right.mean()), len(right)).encode()


def companions(content: bytes, stem: str) -> dict[str, bytes]:
    """The header file that belongs to a ``.c``, by file name."""
    return {f"{stem}.h": codegen.header(c.facts_of(content)).encode()}


CONVERTER = Converter(
    "c", ".c", (Precision.INT8,), PACKAGES, SOURCES, convert, finish=finish, companions=companions, on_demand=True
)
