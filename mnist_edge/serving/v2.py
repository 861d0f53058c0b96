"""The Open Inference Protocol, version 2, REST: what KServe and Triton speak, with the binary tensor extension.

Written from the protocol's public description (github.com/kserve/open-inference-protocol) and Triton's of its
extensions. A model takes ``image`` (UINT8, [n, h, w, 1], as the network takes it) or ``picture`` (BYTES, [n]: PNG or
JPEG files, through the model's preprocessor), and gives ``probabilities`` (FP32, [n, classes]).
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.runtime.session import Session
from mnist_edge.serving.http import Limits, RefusedError, parse_json
from mnist_edge.serving.models import Loaded
from mnist_edge.serving.tensors import decode, to_images

HEADER = "Inference-Header-Content-Length"
IMAGE, PICTURE, OUTPUT = "image", "picture", "probabilities"
DTYPES = {
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip


def server() -> dict[str, Any]:
    """Server metadata."""
    return {"name": "mnist-edge", "version": __version__, "extensions": ["classification", "binary_tensor_data"]}


def metadata(loaded: Loaded) -> dict[str, Any]:
    """Model metadata."""
    height, width = loaded.first.image_shape
    return {
        "name": loaded.name,
        "versions": [str(loaded.version)],
        "platform": f"mnist-edge_{loaded.first.engine}",
        "inputs": [
            {"name": IMAGE, "datatype": "UINT8", "shape": [-1, height, width, 1]},
            {"name": PICTURE, "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, loaded.first.classes]}],
    }


def split(content: bytes, header: str | None) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the binary data behind it.

    Raises:
        RefusedError: 400, a length that does not fit, or no JSON.
    """
    if header is None:
        return parse_json(content), b""
    if not header.isdecimal() or int(header) > len(content):
        raise RefusedError(400, f"{HEADER} is no length within the body.")
    return parse_json(content[: int(header)]), content[int(header) :]


def read_images(request: dict[str, Any], binary: bytes, session: Session, limits: Limits) -> NDArray[np.uint8]:
    """The images of a request, uint8 (n, h, w).

    Raises:
        RefusedError: 400, whatever does not fit the metadata.
    """
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RefusedError(400, f"One input is wanted: {IMAGE!r} or {PICTURE!r}.")
    tensor = inputs[0]
    name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if name not in (IMAGE, PICTURE):
        raise RefusedError(400, f"There is no input {str(name)[:40]!r}; it is {IMAGE!r} or {PICTURE!r}.")
    if not isinstance(shape, list) or not all(isinstance(size, int) and 0 <= size <= 2**31 for size in shape):
        raise RefusedError(400, "The shape is no list of sizes.")
    if isinstance(datatype, str) and (datatype == "BYTES") != (name == PICTURE):
        raise RefusedError(400, f"The input {name!r} is {'BYTES' if name == PICTURE else 'UINT8'}.")
    size = _binary_size(tensor)
    if name == PICTURE:
        contents = _strings(binary, size) if size is not None else _encoded(tensor.get("data"))
        if [len(contents)] != shape and [len(contents), 1] != shape:
            raise RefusedError(400, f"The shape is {shape}, and there are {len(contents)} pictures.")
        return decode(contents, session, limits)
    if datatype not in DTYPES:
        raise RefusedError(400, f"The datatype of {IMAGE!r} is UINT8.")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    dtype = np.dtype(DTYPES[datatype])
    if size is not None:
        if size != len(binary) or size != count * dtype.itemsize:
            raise RefusedError(400, f"The shape wants {count * dtype.itemsize} bytes; there are {len(binary)}.")
        flat = np.frombuffer(binary, dtype.newbyteorder("<"))
    else:
        flat = _numbers(tensor.get("data"))
        if flat.size != count:
            raise RefusedError(400, f"The shape wants {count} values; there are {flat.size}.")
    return to_images(flat.reshape(shape), session, limits)


def answer(request: dict[str, Any], loaded: Loaded, answers: NDArray[np.float32]) -> tuple[bytes, dict[str, str]]:
    """The body of the response, and its headers.

    Raises:
        RefusedError: 400, an output that there is not.
    """
    wanted = _output(request)
    parameters = _object(wanted.get("parameters"))
    classes = parameters.get("classification", _object(request.get("parameters")).get("classification"))
    as_binary = bool(parameters.get("binary_data", _object(request.get("parameters")).get("binary_data_output", False)))
    if classes is not None:
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
            raise RefusedError(400, "The parameter classification is a number of classes.")
        count = min(classes, answers.shape[1])
        names = loaded.first.contract.class_names
        top = np.argsort(-answers, axis=1, kind="stable")[:, :count]
        texts = [
            f"{row[at]:f}:{at}:{names[at]}" for row, best in zip(answers, top, strict=True) for at in best.tolist()
        ]
        output: dict[str, Any] = {"name": OUTPUT, "datatype": "BYTES", "shape": [len(answers), count]}
        data: list[Any] = texts
        packed = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    else:
        output = {"name": OUTPUT, "datatype": "FP32", "shape": list(answers.shape)}
        data, packed = answers.ravel().tolist(), answers.astype("<f4").tobytes()
    if as_binary:
        output["parameters"] = {"binary_data_size": len(packed)}
    else:
        output["data"] = data
    response = {"model_name": loaded.name, "model_version": str(loaded.version), "outputs": [output]}
    if "id" in request:
        response["id"] = request["id"]
    text = json.dumps(response).encode()
    if not as_binary:
        return text, {"content-type": "application/json"}
    return text + packed, {"content-type": "application/octet-stream", HEADER: str(len(text))}


def check(request: dict[str, Any]) -> None:
    """The parts of a request that are no tensors.

    Raises:
        RefusedError: 400.
    """
    if "id" in request and not isinstance(request["id"], str):
        raise RefusedError(400, "The id is a string.")
    _output(request)


def _output(request: dict[str, Any]) -> dict[str, Any]:
    outputs = request.get("outputs") or [{"name": OUTPUT}]
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise RefusedError(400, f"There is one output: {OUTPUT!r}.")
    wanted: dict[str, Any] = outputs[0]
    if wanted.get("name") != OUTPUT:
        raise RefusedError(400, f"There is no output {str(wanted.get('name'))[:40]!r}; it is {OUTPUT!r}.")
    return wanted


def _binary_size(tensor: dict[str, Any]) -> int | None:
    size = _object(tensor.get("parameters")).get("binary_data_size")
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise RefusedError(400, "binary_data_size is no number of bytes.")
    return size


def _strings(binary: bytes, size: int) -> list[bytes]:
    """Byte strings, each behind its length as four little-endian bytes."""
    found, at = [], 0
    if size != len(binary):
        raise RefusedError(400, f"binary_data_size is {size}; there are {len(binary)} bytes.")
    while at < size:
        length = struct.unpack_from("<I", binary, at)[0] if at + 4 <= size else size
        if at + 4 + length > size:
            raise RefusedError(400, "A byte string is longer than the data.")
        found.append(binary[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _encoded(data: Any) -> list[bytes]:
    """Pictures in JSON are base64."""
    import base64
    import binascii

    try:
        return [base64.b64decode(item, validate=True) for item in data]
    except (TypeError, ValueError, binascii.Error):
        raise RefusedError(400, f"The data of {PICTURE!r} is a list of base64 strings.") from None


def _numbers(data: Any) -> NDArray[Any]:
    if not isinstance(data, list):
        raise RefusedError(400, "The tensor has no data.")
    try:
        array = np.array(data)
    except (ValueError, OverflowError):
        raise RefusedError(400, "The rows of the tensor differ in length.") from None
    if array.dtype.kind not in "iuf":
        raise RefusedError(400, "The tensor holds something else than numbers.")
    return array.ravel()


def _object(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise RefusedError(400, "parameters is an object.")
    return value or {}
