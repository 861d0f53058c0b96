"""The model as each peer runs it: one LiteRT interpreter with one thread. Imported in the peers' environments."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Classifier:
    """An int8 TFLite classifier of uint8 images."""

    def __init__(self, path: str) -> None:
        self._interpreter = Interpreter(path, num_threads=1)
        self._count = 0
        self._output = self._interpreter.get_output_details()[0]
        self._input = self._interpreter.get_input_details()[0]

    def __call__(self, images: Any) -> Any:
        """Probabilities, float32 (n, classes), of uint8 images (n, 28, 28, 1)."""
        if len(images) != self._count:
            self._count = len(images)
            self._interpreter.resize_tensor_input(self._input["index"], images.shape)
            self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input["index"], images)
        self._interpreter.invoke()
        values = self._interpreter.get_tensor(self._output["index"])
        scale, zero_point = self._output["quantization"]
        return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values


def resized(content: bytes) -> Any:
    """Image of the model, uint8 (1, 28, 28, 1), from a picture file: converted to grey, resized and inverted."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        small = picture.convert("L").resize((28, 28), Image.Resampling.BILINEAR)
    return (255 - np.asarray(small, np.uint8)).reshape(1, 28, 28, 1)


def tensor(item: dict[str, Any]) -> Any:
    """A V2 JSON input tensor as uint8 images."""
    return np.array(item["data"], np.uint8).reshape(item["shape"])


def answer(values: Any) -> dict[str, Any]:
    """A V2 JSON response."""
    output = {"name": "probabilities", "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
    return {"model_name": "cnn", "outputs": [output]}
