"""Input of the converters: the request, the calibration inputs, and the model as a TensorFlow function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.naming import layer_names, layer_of, marked_layers
from mnist_edge.data import Split
from mnist_edge.errors import StageError
from mnist_edge.formats import Contract
from mnist_edge.models.backend import import_tensorflow
from mnist_edge.results.precision import Precision

INPUT_NAME = "image"  # of the input tensor in every exported file
# Ops of TensorFlow that branch or loop. TFLite's calibrator crashes on them, and `mnist_edge.formats` refuses files
# that have them.
_CONTROL_FLOW = ("Case", "For", "If", "StatelessCase", "StatelessIf", "StatelessWhile", "While")


@dataclass(frozen=True)
class Quantizer:
    """Choices of an int8 conversion. The default makes the file of every export without ``--until-pass``.

    Attributes:
        ranges: how the ranges of activations follow from the calibration images. ``minmax``: all values;
            ``percentile``: without the most extreme ones; ``entropy``, only ONNX: the least loss of information.
        equalize: whether channels are equalized first, see `mnist_edge.conversion.equalization`.
        float_layers: names of the layers that stay in float.
    """

    ranges: str = "minmax"
    equalize: bool = False
    float_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class FourBitData:
    """Images of the training data, uint8 (n, h, w, c) or features, and the validation split, which chooses layers."""

    training: NDArray[Any]
    validation: Split


USUAL = Quantizer()
UINT8, FLOAT32 = "uint8", "float32"  # types of the input of an int8 TFLite file
IOS = (UINT8, FLOAT32)


@dataclass(frozen=True)
class ConversionRequest:
    """One conversion.

    Attributes:
        quantization: precision of the file.
        calibration: images of the training data for the activation calibration, uint8 (n, h, w, c).
        contract: to be stored in the file.
        log: path of the file to which the converter's output is appended.
        backend: sets of kernels that generated C contains: ``c99``, ``arm``, ``x86`` or ``all``.
        quantizer: choices of an int8 conversion.
        io: ``uint8``, or ``float32`` for an int8 TFLite file with a float32 input and output.
        four_bits: data that choose and round weights of 4 bits; None for other precisions than ``int4``.
    """

    quantization: Precision
    calibration: NDArray[np.uint8]
    contract: Contract
    log: Path
    backend: str = "all"
    quantizer: Quantizer = USUAL
    io: str = UINT8
    four_bits: FourBitData | None = None


def calibration_inputs(shape: tuple[int, ...], request: ConversionRequest) -> NDArray[np.float32]:
    """The calibration images as the model's float32 input (n, *shape), with pixels from 0 to 255.

    A quantizer computes the input's scale and zero point from the lowest and the highest value of the calibration
    images. If no image has a pixel of 0 or 255, one corner pixel is set to it: otherwise brighter images than these
    would saturate.
    """
    images = request.calibration.copy() if request.calibration.size > 1 else np.repeat(request.calibration, 2, axis=0)
    if images.max() < 255:
        images[0].flat[0] = 255
    if images.min() > 0:
        images[-1].flat[-1] = 0
    return (images.astype(np.float32) * np.float32(request.contract.pixel_scale)).reshape(-1, *shape)


def input_shape(model: Any) -> tuple[int, ...]:
    """Shape of one input of a Keras model, without the batch."""
    return tuple(model.inputs[0].shape)[1:]


def inference_function(model: Any, batch: int | None, output_name: str) -> tuple[Any, Any]:
    """The model in inference mode as a ``tf.function``, and its input signature.

    Args:
        model: a Keras model.
        batch: batch size of the input ``image``, float32 (batch, *input shape); None for a free one.
        output_name: name of the output.

    Raises:
        StageError: the model loops or branches, as a recurrent layer does.
    """
    tf = import_tensorflow()
    signature = [tf.TensorSpec([batch, *model.inputs[0].shape[1:]], tf.float32, name=INPUT_NAME)]

    def infer(image: Any) -> dict[str, Any]:
        with marked_layers(model):
            return {output_name: model(image, training=False)}

    function = tf.function(infer, input_signature=signature, autograph=False)
    graph = function.get_concrete_function().graph
    loops = [op.name for op in graph.get_operations() if op.type in _CONTROL_FLOW]
    if loops:
        layer = layer_of([loops[0]], layer_names(model))
        raise StageError(
            f"The model's layer {layer or loops[0]} loops or branches, which no engine here runs.",
            "Replace it by convolutions; a recurrent layer with unroll=True can be exported with --format onnx.",
        )
    return function, signature
