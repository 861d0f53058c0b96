"""Conversion of int8 TFLite files to C99, bit-exact with LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.conversion import codegen, int4, tflite
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.data import Split
from mnist_edge.errors import ContentError, MissingError, StageError
from mnist_edge.formats import Contract, ModelStructure, TensorInfo, c, structure
from mnist_edge.formats import tflite as tflite_format
from mnist_edge.formats.model_structure import CHANNELS, FEATURES
from mnist_edge.int8.quantize import Port, as_inputs, labels_of
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.engines import native
from mnist_edge.runtime.session import default_contract

PACKAGES = (*tflite.PACKAGES, "mnist-edge")
SOURCES = (
    *tflite.SOURCES, "conversion/c.py", "conversion/int4.py", "conversion/codegen", "int8", "runtime/engines/native.py",
    "toolchains/host_cc.py",
)  # fmt: skip


def convert(model: Any, request: ConversionRequest) -> bytes:
    """C code of a Keras model, made from its int8 TFLite file; arguments and errors as for `tflite.convert`.

    Raises:
        StageError: an op has no kernel in C, or no layer can have weights of 4 bits as asked.
    """
    contract = replace(request.contract, quantization=Precision.INT8)
    of_int8 = replace(request, quantization=Precision.INT8, contract=contract)  # the same bytes as the int8 export
    return convert_int8(tflite.convert(model, of_int8), request)


def convert_int8(content: bytes, request: ConversionRequest) -> bytes:
    """C code of the int8 TFLite file that `tflite.convert` made, whose contract it has; errors as for `convert`."""
    contract = replace(
        tflite_format.read(content).contract or request.contract, quantization=request.contract.quantization
    )
    code = codegen.source(_with_four_bits(content, request), contract, request.calibration, request.backend).encode()
    _require_four_bits(code, request)
    return code


def _with_four_bits(content: bytes, request: ConversionRequest) -> bytes:
    """The int8 TFLite file with weights of 4 bits, if the request asks for them."""
    if request.four_bits is None:
        return content
    return int4.quantized(content, request.four_bits, request.contract.pixel_scale)


def _require_four_bits(code: bytes, request: ConversionRequest) -> None:
    """Check that code has weights of 4 bits if the request asks for them.

    Raises:
        StageError: it has none.
    """
    if request.four_bits is not None and not c.facts_of(code).get("four_bits"):
        raise StageError(
            "The C has no weights of 4 bits: they save less flash than their code takes, or its kernels take none.",
            "Use --quantize int8.",
        )


def convert_given(content: bytes, request: ConversionRequest) -> bytes:
    """C code of an int8 TFLite file that the user named, and that classifies images.

    The code takes uint8 pixels if the file does, and is for images. Otherwise it takes the values of the file's input.

    Raises:
        ContentError: an op has no kernel in C, or no layer can have weights of 4 bits as asked.
    """
    source = tflite_format.read(content).inputs[0]
    takes_pixels = _takes_pixels(source, request.contract)
    inputs = request.calibration
    if not takes_pixels and source.scale:
        port = Port(np.dtype(source.dtype), source.shape[1:], source.scale[0], source.zero_point[0])
        inputs = as_inputs(inputs, port, request.contract.pixel_scale)
    try:
        content = _with_four_bits(content, request)
        code = codegen.source(content, request.contract, inputs, request.backend, takes_pixels).encode()
        _require_four_bits(code, request)
        return code
    except StageError as error:
        raise ContentError(error.cause, error.remedy) from error


def _takes_pixels(source: TensorInfo, contract: Contract) -> bool:
    """Whether code takes uint8 pixels: the file's input does, and is an image."""
    return source.dtype == "uint8" and contract.preprocessor != FEATURES


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
    takes_pixels = contract is not None and _takes_pixels(file.inputs[0], contract)
    if contract is None:
        contract = _default_contract(file, name)
    return codegen.source(content, contract, inputs, backend, takes_pixels).encode()


def _default_contract(file: ModelStructure, name: str) -> Contract:
    """The contract of a file from elsewhere, as a session assumes it; what cannot be an image is features."""
    shape = file.inputs[0].shape[1:]
    assumed = default_contract(name, file.outputs[0].shape[-1], next(iter(file.inputs[0].scale), None))
    contract = replace(assumed, quantization=Precision.INT8, tool_version=__version__)
    is_image = len(shape) == 3 and shape[2] in CHANNELS
    return contract if is_image else replace(contract, preprocessor=FEATURES, pixel_scale=1.0)


def finish(content: bytes, test: Split) -> bytes:
    """The C with its accuracy on the test images in its header; unchanged if no compiler is installed to run it."""
    try:
        program = native.load(content, 1)
    except MissingError:
        return content
    facts = c.facts_of(content)
    answers = program.run(as_inputs(test.images, program.input, Contract.from_text(facts["contract"]).pixel_scale))
    right = labels_of(answers, program.output) == test.labels
    return codegen.with_accuracy(content.decode(), facts, float(right.mean()), len(right)).encode()


def companions(content: bytes, stem: str) -> dict[str, bytes]:
    """The header file that belongs to a ``.c``, by file name."""
    return {f"{stem}.h": codegen.header(c.facts_of(content)).encode()}


CONVERTER = Converter(
    "c", ".c", (Precision.INT8, Precision.INT4), PACKAGES, SOURCES, convert, {".tflite": convert_given},
    finish=finish, companions=companions, convert_int8=convert_int8, on_demand=True,
)  # fmt: skip
