"""TensorFlow Serving's REST: ``:predict`` by rows (``instances``) or columns (``inputs``), status, metadata.

Written from TensorFlow Serving's public description of its API. An instance is an image of whole numbers from 0 to 255,
as the network takes it, or ``{"b64": …}``: a PNG or JPEG file, through the model's preprocessor.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.runtime.session import Session
from mnist_edge.serving.http import Limits, RefusedError
from mnist_edge.serving.models import Loaded
from mnist_edge.serving.tensors import decode, to_images

SIGNATURE = "serving_default"


def status(loaded: Loaded) -> dict[str, Any]:
    """Whether a model is there."""
    state = {"version": str(loaded.version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"model_version_status": [state]}


def metadata(loaded: Loaded) -> dict[str, Any]:
    """Its signature."""
    height, width = loaded.first.image_shape

    def tensor(name: str, dtype: str, *sizes: int) -> dict[str, Any]:
        dims = [{"size": str(size), "name": ""} for size in (-1, *sizes)]
        return {"dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}

    definition = {
        "inputs": {"image": tensor("image", "DT_UINT8", height, width, 1)},
        "outputs": {"probabilities": tensor("probabilities", "DT_FLOAT", loaded.first.classes)},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": loaded.name, "signature_name": "", "version": str(loaded.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: definition}}},
    }


def read_images(request: dict[str, Any], session: Session, limits: Limits) -> NDArray[np.uint8]:
    """The images of a request, uint8 (n, h, w).

    Raises:
        RefusedError: 400.
    """
    if request.get("signature_name", SIGNATURE) != SIGNATURE:
        raise RefusedError(400, f"The only signature is {SIGNATURE!r}.")
    if ("instances" in request) == ("inputs" in request):
        raise RefusedError(400, "Either instances or inputs is wanted.")
    values = request["instances"] if "instances" in request else request["inputs"]
    if "inputs" in request and isinstance(values, dict) and list(values) != ["b64"]:
        if list(values) != ["image"]:
            raise RefusedError(400, "The only input is 'image'.")
        values = values["image"]
    if not isinstance(values, list) or not values:
        raise RefusedError(400, "There are no instances.")
    if isinstance(values[0], dict):
        values = [item.get("image", item) if isinstance(item, dict) and "b64" not in item else item for item in values]
    if isinstance(values[0], dict):
        return decode([_picture(item) for item in values], session, limits)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        raise RefusedError(400, "The rows of the tensor differ in length.") from None
    return to_images(array, session, limits)


def answer(request: dict[str, Any], answers: NDArray[np.float32]) -> dict[str, Any]:
    """Rows for rows, columns for columns."""
    return {"predictions" if "instances" in request else "outputs": answers.tolist()}


def _picture(item: Any) -> bytes:
    try:
        return base64.b64decode(item["b64"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error):
        raise RefusedError(400, 'A picture is {"b64": "…"} in base64.') from None
