"""TensorFlow Serving's REST protocol: prediction, status and metadata.

Written from TensorFlow Serving's public description of its API. ``:predict`` takes instances in row format
(``instances``) or in column format (``inputs``). An instance is either an image of the network's input size, in whole
numbers from 0 to 255, or ``{"b64": …}``, a picture file that the model's preprocessor reads.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnist_edge.serving.limits import RequestRefusedError
from mnist_edge.serving.models import LoadedModel
from mnist_edge.serving.requests import Grid, ImageRequest, Text, check_count, check_structure, decode, pixels_of

SIGNATURE = "serving_default"
# Stands for a member that the body lacks; it is false as a condition.
NONE = msgspec.Raw()


class _Request(msgspec.Struct):
    instances: msgspec.Raw = NONE
    inputs: msgspec.Raw = NONE
    signature_name: Text = SIGNATURE


class _Picture(msgspec.Struct):
    b64: bytes | None = None
    image: msgspec.Raw = NONE


_REQUEST = msgspec.json.Decoder(_Request)
_ROWS = msgspec.json.Decoder(list[_Picture])
_PICTURE = msgspec.json.Decoder(_Picture)
_ENCODER = msgspec.json.Encoder()


def read(content: bytes, grid: Grid) -> ImageRequest:
    """Read the body of a ``:predict`` request.

    Raises:
        RequestRefusedError: 400 the body does not match the model's signature, 413 it has more values than the largest
            request.
    """
    check_structure(content, grid)
    request = decode(_REQUEST, content)
    if request.signature_name != SIGNATURE:
        raise RequestRefusedError(400, f"The only signature is {SIGNATURE!r}.")
    columns = bool(request.inputs)
    if columns == bool(request.instances):
        raise RequestRefusedError(400, "Either instances or inputs is expected.")
    values = request.inputs if columns else request.instances
    if columns and _begins_with(values, b"{"):
        named = decode(_PICTURE, values)
        if named.b64 is not None:
            return ImageRequest(1, pictures=(named.b64,), columns=True)
        if not named.image:
            raise RequestRefusedError(400, "The only input is 'image'.")
        values = named.image
    return _images(values, grid, columns)


def _images(values: msgspec.Raw, grid: Grid, columns: bool) -> ImageRequest:
    """Read a JSON list of images, of pictures, or of objects that hold an image or a picture each."""
    if _begins_with(values, b"[{"):
        rows = decode(_ROWS, values)
        check_count(len(rows), grid)
        if all(row.b64 is not None for row in rows):
            return ImageRequest(
                len(rows), pictures=tuple(row.b64 for row in rows if row.b64 is not None), columns=columns
            )
        images = [row.image for row in rows if row.image]
        if len(images) != len(rows):
            raise RequestRefusedError(400, 'An instance is {"image": …} or {"b64": "…"}.')
        if _begins_with(images[0], b"{"):
            named = [decode(_PICTURE, image).b64 for image in images]
            if None in named:
                raise RequestRefusedError(400, 'A picture is {"b64": "…"} in base64.')
            return ImageRequest(len(rows), pictures=tuple(item for item in named if item is not None), columns=columns)
        pixels = b"".join(pixels_of(image, _shape(image, grid, ())) for image in images)
        return ImageRequest(len(rows), pixels, columns=columns)
    if not _begins_with(values, b"[["):
        raise RequestRefusedError(400, "There are no instances.")
    pixels = pixels_of(values, _shape(values, grid, (None,)))
    count = len(pixels) // grid.pixels(1)
    check_count(count, grid)
    return ImageRequest(count, pixels, columns=columns)


def _shape(values: msgspec.Raw, grid: Grid, first: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The expected shape. That of grey images has a channel dimension if ``values`` is nested deep enough for one."""
    size = (*first, grid.height, grid.width)
    has_channels = grid.channels > 1 or _begins_with(values, b"[" * (len(size) + 1))
    return (*size, grid.channels) if has_channels else size


def _begins_with(values: msgspec.Raw, characters: bytes) -> bool:
    return bytes(memoryview(values)[:200]).translate(None, b" \t\r\n").startswith(characters)


def answer(request: ImageRequest, answers: NDArray[np.float32]) -> bytes:
    """The body of the response, for probabilities of shape (n, classes), in the format of the request."""
    return _ENCODER.encode({"outputs" if request.columns else "predictions": answers.tolist()})


def status(loaded: LoadedModel) -> dict[str, Any]:
    """The status of a model."""
    state = {"version": str(loaded.version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"model_version_status": [state]}


def metadata(loaded: LoadedModel) -> dict[str, Any]:
    """The signature of a model."""

    def tensor(name: str, dtype: str, *sizes: int) -> dict[str, Any]:
        dims = [{"size": str(size), "name": ""} for size in (-1, *sizes)]
        return {"dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}

    definition = {
        "inputs": {"image": tensor("image", "DT_UINT8", loaded.grid.height, loaded.grid.width, loaded.grid.channels)},
        "outputs": {"probabilities": tensor("probabilities", "DT_FLOAT", loaded.classes)},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": loaded.name, "signature_name": "", "version": str(loaded.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: definition}}},
    }
