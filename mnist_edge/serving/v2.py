"""The Open Inference Protocol, version 2, over HTTP, as in KServe and Triton, with Triton's binary tensors.

Written from the public descriptions of the protocol (github.com/kserve/open-inference-protocol) and of Triton's
extensions. A model's input is ``image`` (UINT8, [n, h, w, c], images of the network's input size) or ``picture``
(BYTES, [n], picture files that the model's preprocessor reads); its output is ``probabilities`` (FP32, [n, classes]).
"""

from __future__ import annotations

import math
import struct
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.serving.limits import RequestRefusedError
from mnist_edge.serving.models import LoadedModel
from mnist_edge.serving.requests import (
    MAX_RANK,
    Grid,
    ImageRequest,
    Text,
    check_count,
    check_structure,
    decode,
    pixels_of,
    pixels_of_array,
)

# Header field of a body with binary tensors: bytes of the JSON before them.
HEADER = "Inference-Header-Content-Length"
IMAGE, PICTURE, OUTPUT = "image", "picture", "probabilities"
# NumPy dtypes of the protocol's data types.
DTYPES = {
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
EXTENSIONS = ["classification", "binary_tensor_data", "model_repository", "model_configuration", "statistics"]

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Classes = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class _InputParameters(msgspec.Struct):
    binary_data_size: _Size | None = None


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: _Classes | None = None


class _RequestParameters(msgspec.Struct):
    binary_data_output: bool | None = None
    classification: _Classes | None = None


class _Input(msgspec.Struct):
    name: Text
    shape: Annotated[list[_Size], msgspec.Meta(min_length=1, max_length=MAX_RANK)]
    datatype: Text
    data: msgspec.Raw = msgspec.Raw()
    parameters: _InputParameters | None = None


class _Output(msgspec.Struct):
    name: Text
    parameters: _OutputParameters | None = None


class _Request(msgspec.Struct):
    inputs: Annotated[list[_Input], msgspec.Meta(min_length=1, max_length=1)]
    outputs: Annotated[list[_Output], msgspec.Meta(max_length=1)] | None = None
    id: Text | msgspec.UnsetType = msgspec.UNSET
    parameters: _RequestParameters | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_STRINGS = msgspec.json.Decoder(list[bytes])  # from base64
_ENCODER = msgspec.json.Encoder()


def read(content: bytes, header: str | None, grid: Grid) -> ImageRequest:
    """Read the body of a request: its images and the wanted form of the response.

    Args:
        content: the body: JSON, then binary data.
        header: value of the header field with the length of the JSON in bytes; None if the whole body is JSON.
        grid: the model's input.

    Raises:
        RequestRefusedError: 400 the body does not match the model's metadata, 413 it has more values than the largest
            request.
    """
    binary = b""
    if header is not None:
        length = int(header) if header.isascii() and header.isdecimal() and len(header) < 20 else len(content) + 1
        if length > len(content):
            raise RequestRefusedError(400, f"{HEADER} is not a length within the body.")
        content, binary = content[:length], content[length:]
    check_structure(content, grid)
    request = decode(_REQUEST, content)
    tensor = request.inputs[0]
    if tensor.name not in (IMAGE, PICTURE):
        raise RequestRefusedError(
            400, f"There is no input {tensor.name[:40]!r}; the inputs are {IMAGE!r} and {PICTURE!r}."
        )
    size = tensor.parameters.binary_data_size if tensor.parameters is not None else None
    if size is not None and size != len(binary):
        raise RequestRefusedError(400, f"binary_data_size is {size}; there are {len(binary)} bytes.")
    if tensor.name == PICTURE:
        pictures = pictures_of(tensor.datatype, tensor.shape, _contents(tensor, binary, size), grid)
        return _with_options(request, len(pictures), b"", pictures)
    if size is None:
        check_image(tensor.datatype, tensor.shape, grid)
        pixels = pixels_of(tensor.data or _no_data(), tensor.shape)
    else:
        pixels = image_of(tensor.datatype, tensor.shape, binary, grid)
    return _with_options(request, tensor.shape[0], pixels, ())


def image_of(datatype: str, shape: list[int], binary: bytes, grid: Grid) -> bytes:
    """The pixels of a binary tensor, as uint8 in C order.

    Raises:
        RequestRefusedError: 400, the data type, shape, size or range is not that of a batch of images.
    """
    check_image(datatype, shape, grid)
    dtype = np.dtype(DTYPES[datatype])
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != len(binary):
        raise RequestRefusedError(400, f"The shape needs {wanted} bytes; there are {len(binary)}.")
    return binary if datatype == "UINT8" else pixels_of_array(np.frombuffer(binary, dtype))


def pictures_of(datatype: str, shape: list[int], contents: list[bytes], grid: Grid) -> tuple[bytes, ...]:
    """The picture files of a ``picture`` tensor.

    Raises:
        RequestRefusedError: 400, the data type is not BYTES, or the shape does not match the number of files.
    """
    if datatype != "BYTES":
        raise RequestRefusedError(400, f"The datatype of {PICTURE!r} is BYTES.")
    if shape not in ([len(contents)], [len(contents), 1]):
        raise RequestRefusedError(400, f"The shape is {shape}, and there are {len(contents)} pictures.")
    check_count(len(contents), grid)
    return tuple(contents)


def check_image(datatype: str, shape: list[int], grid: Grid) -> None:
    """Check the data type and shape of an ``image`` tensor.

    Raises:
        RequestRefusedError: 400, they are not those of a batch of images.
    """
    if datatype not in DTYPES:
        raise RequestRefusedError(400, f"The datatype of {IMAGE!r} is UINT8.")
    if not grid.accepts(shape):
        raise RequestRefusedError(
            400, f"The shape is {shape}; [n, {grid.height}, {grid.width}, {grid.channels}] is expected."
        )
    check_count(shape[0], grid)


def _contents(tensor: _Input, binary: bytes, size: int | None) -> list[bytes]:
    return decode(_STRINGS, tensor.data or _no_data()) if size is None else split_strings(binary)


def _no_data() -> msgspec.Raw:
    raise RequestRefusedError(400, "The tensor has no data.")


def _with_options(request: _Request, count: int, pixels: bytes, pictures: tuple[bytes, ...]) -> ImageRequest:
    output = request.outputs[0] if request.outputs else _Output(OUTPUT)
    if output.name != OUTPUT:
        raise RequestRefusedError(400, f"There is no output {output.name[:40]!r}; the output is {OUTPUT!r}.")
    own, common = output.parameters or _OutputParameters(), request.parameters or _RequestParameters()
    binary = common.binary_data_output if own.binary_data is None else own.binary_data
    return ImageRequest(
        count,
        pixels,
        pictures,
        request_id=None if request.id is msgspec.UNSET else request.id,
        classification=common.classification if own.classification is None else own.classification,
        binary=bool(binary),
    )


def split_strings(binary: bytes) -> list[bytes]:
    """Split a BYTES tensor: each byte string follows its length, in four bytes, little-endian.

    Raises:
        RequestRefusedError: 400, a length exceeds the data.
    """
    found, at = [], 0
    while at < len(binary):
        length = struct.unpack_from("<I", binary, at)[0] if at + 4 <= len(binary) else len(binary)
        if at + 4 + length > len(binary):
            raise RequestRefusedError(400, "A byte string is longer than the data.")
        found.append(binary[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def join_strings(texts: list[str]) -> bytes:
    """The reverse of `split_strings`, for text in UTF-8."""
    encoded = [text.encode() for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def best_classes(loaded: LoadedModel, answers: NDArray[np.float32], count: int) -> list[str]:
    """The ``count`` most probable classes of each row as ``probability:index:name``, the most probable first."""
    names = loaded.contract.class_names
    top = np.argsort(-answers, axis=1, kind="stable")[:, :count]
    return [f"{row[at]:f}:{at}:{names[at]}" for row, best in zip(answers, top, strict=True) for at in best.tolist()]


def answer(request: ImageRequest, loaded: LoadedModel, answers: NDArray[np.float32]) -> tuple[bytes, dict[str, str]]:
    """The body and header fields of the response, for probabilities of shape (n, classes)."""
    output: dict[str, Any]
    if request.classification is not None:
        count = min(request.classification, answers.shape[1])
        texts = best_classes(loaded, answers, count)
        output = {"name": OUTPUT, "datatype": "BYTES", "shape": [len(answers), count]}
        packed = join_strings(texts) if request.binary else b""
        data: list[Any] = texts
    else:
        output = {"name": OUTPUT, "datatype": "FP32", "shape": list(answers.shape)}
        packed = answers.astype("<f4").tobytes() if request.binary else b""
        data = [] if request.binary else answers.ravel().tolist()
    if request.binary:
        output["parameters"] = {"binary_data_size": len(packed)}
    else:
        output["data"] = data
    response = {"model_name": loaded.name, "model_version": str(loaded.version), "outputs": [output]}
    if request.request_id is not None:
        response["id"] = request.request_id
    text = _ENCODER.encode(response)
    if not request.binary:
        return text, {"content-type": "application/json"}
    return text + packed, {"content-type": "application/octet-stream", HEADER: str(len(text))}


def server() -> dict[str, Any]:
    """The server's metadata."""
    return {"name": "mnist-edge", "version": __version__, "extensions": EXTENSIONS}


def metadata(loaded: LoadedModel) -> dict[str, Any]:
    """A model's metadata."""
    return {
        "name": loaded.name,
        "versions": [str(loaded.version)],
        "platform": f"mnist-edge_{loaded.engine}",
        "inputs": [
            {
                "name": IMAGE,
                "datatype": "UINT8",
                "shape": [-1, loaded.grid.height, loaded.grid.width, loaded.grid.channels],
            },
            {"name": PICTURE, "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, loaded.classes]}],
    }
