"""Input of every converter: the request, the calibration inputs, and the model as a function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion.naming import layer_names, layer_of, marked_layers
from mnist_edge.errors import StageError
from mnist_edge.formats import Contract
from mnist_edge.models.backend import import_tensorflow

INPUT_NAME = "image"
# Ops of TensorFlow that branch or repeat. TFLite's calibrator crashes on them, and no engine here is given them (see
# `mnist_edge.formats`).
_CONTROL_FLOW = ("Case", "For", "If", "StatelessCase", "StatelessIf", "StatelessWhile", "While")


@dataclass(frozen=True)
class ConversionRequest:
    """One conversion.

    ``quantization`` is ``int8``, ``float16`` or ``float32``; ``calibration`` are uint8 images (n, h, w, 1) from the
    training split; ``contract`` is to be embedded in the file; ``log`` is where the converters' output goes;
    ``backend`` says which kernels generated C has: ``c99``, ``arm``, ``x86`` or ``all``.
    """

    quantization: str
    calibration: NDArray[np.uint8]
    contract: Contract
    log: Path
    backend: str = "all"


def calibration_inputs(model: Any, request: ConversionRequest) -> NDArray[np.float32]:
    """The calibration images as the model's float32 input (n, *input shape), spanning the whole range of pixels.

    A quantizer takes the input's grid from the lowest and the highest value that it sees. Images without a 0 or a 255
    get one in a corner: the grid is then that of all pixels, and a brighter image than these does not saturate.
    """
    shape = tuple(model.inputs[0].shape)[1:]
    images = request.calibration.copy() if request.calibration.size > 1 else np.repeat(request.calibration, 2, axis=0)
    if images.max() < 255:
        images[0].flat[0] = 255
    if images.min() > 0:
        images[-1].flat[-1] = 0
    return (images.astype(np.float32) * np.float32(request.contract.pixel_scale)).reshape(-1, *shape)


def inference_function(model: Any, batch: int | None, output_name: str) -> tuple[Any, Any]:
    """The model in inference mode as a ``tf.function`` with stable names, and its input signature.

    Input ``image``: float32 (batch, *input shape).

    Raises:
        StageError: the model has a loop or a branch, as a recurrent layer has.
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
            "Put convolutions in its place; a recurrent layer with unroll=True can be exported with --format onnx.",
        )
    return function, signature
