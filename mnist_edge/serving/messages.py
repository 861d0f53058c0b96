"""gRPC messages of the Open Inference Protocol and of gRPC's health protocol: their classes, reading and encoding.

The message classes are built when this module is imported, in a separate descriptor pool, because a client library in
the same process may define the same messages. Field numbers and types are those of the protocol's public description
(github.com/kserve/open-inference-protocol).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.serving import v2
from mnist_edge.serving.limits import RequestRefusedError
from mnist_edge.serving.models import LoadedModel
from mnist_edge.serving.requests import MAX_RANK, Grid, ImageRequest, pixels_of_array

MAX_ID = 1024
# The fields of each message, as in a .proto file; [] marks a repeated field and {} a map with string keys.
_MESSAGES = {
    "ServerLiveResponse": "bool live=1",
    "ServerReadyResponse": "bool ready=1",
    "ModelReadyRequest": "string name=1; string version=2",
    "ModelReadyResponse": "bool ready=1",
    "ServerMetadataResponse": "string name=1; string version=2; string[] extensions=3",
    "ModelMetadataRequest": "string name=1; string version=2",
    "ModelMetadataResponse": "string name=1; string[] versions=2; string platform=3;"
    "Tensor[] inputs=4; Tensor[] outputs=5",
    "Tensor": "string name=1; string datatype=2; int64[] shape=3; Parameter{} parameters=4; Contents contents=5",
    "RequestedOutput": "string name=1; Parameter{} parameters=2",
    # The protocol declares the fields of Parameter as a oneof, which is encoded in the same way.
    "Parameter": "bool bool_param=1; int64 int64_param=2; string string_param=3",
    "Contents": "bool[] bool_contents=1; int32[] int_contents=2; int64[] int64_contents=3; uint32[] uint_contents=4;"
    "uint64[] uint64_contents=5; float[] fp32_contents=6; double[] fp64_contents=7; bytes[] bytes_contents=8",
    "ModelInferRequest": "string model_name=1; string model_version=2; string id=3; Parameter{} parameters=4;"
    "Tensor[] inputs=5; RequestedOutput[] outputs=6; bytes[] raw_input_contents=7",
    "ModelInferResponse": "string model_name=1; string model_version=2; string id=3; Parameter{} parameters=4;"
    "Tensor[] outputs=5; bytes[] raw_output_contents=6",
    "HealthCheckRequest": "string service=1",
    # The protocol declares status as an enum, which is encoded like an int32.
    "HealthCheckResponse": "int32 status=1",
}
_FIELD = re.compile(r"(\w+)(\[\]|\{\})? (\w+)=(\d+)")
SERVING, NOT_SERVING = 1, 2


@dataclass(frozen=True)
class _TypedField:
    """A field of ``Contents``: its name, its values, and the NumPy dtype that holds all of them."""

    name: str
    values: Callable[[Any], Sequence[float]]
    dtype: str


_UINT = _TypedField("uint_contents", lambda contents: contents.uint_contents, "<u4")
_INT = _TypedField("int_contents", lambda contents: contents.int_contents, "<i4")
# The field of ``Contents`` that holds the values of a data type, if they are not in raw_input_contents.
_FIELD_OF = {
    "UINT8": _UINT,
    "UINT16": _UINT,
    "UINT32": _UINT,
    "UINT64": _TypedField("uint64_contents", lambda contents: contents.uint64_contents, "<u8"),
    "INT8": _INT,
    "INT16": _INT,
    "INT32": _INT,
    "INT64": _TypedField("int64_contents", lambda contents: contents.int64_contents, "<i8"),
    "FP32": _TypedField("fp32_contents", lambda contents: contents.fp32_contents, "<f4"),
    "FP64": _TypedField("fp64_contents", lambda contents: contents.fp64_contents, "<f8"),
}


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="mnist_edge.proto", package="mnist_edge", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for kind, mark, field, number in _FIELD.findall(fields):
            if mark == "{}":
                entry = message.nested_type.add(name=f"{field.title()}Entry")
                entry.options.map_entry = True
                _add_field(entry, "key", 1, "string")
                _add_field(entry, "value", 2, kind)
                _add_field(message, field, int(number), f"{name}.{entry.name}", repeated=True)
            else:
                _add_field(message, field, int(number), kind, repeated=mark == "[]")
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"mnist_edge.{name}")) for name in _MESSAGES}


def _add_field(message: DescriptorProto, name: str, number: int, kind: str, repeated: bool = False) -> None:
    field = message.field.add(name=name, number=number)
    field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    if kind.partition(".")[0] in _MESSAGES:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".mnist_edge.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


MESSAGES = _classes()


def parse(name: str, content: bytes) -> Any:
    """Decode a message.

    Args:
        name: the name of its class in `MESSAGES`.
        content: the encoded message.

    Raises:
        RequestRefusedError: 400, the bytes are not such a message.
    """
    try:
        return MESSAGES[name].FromString(content)
    except DecodeError:
        raise RequestRefusedError(400, f"The message is not a {name}.") from None


def encode(kind: str, /, **fields: Any) -> bytes:
    """Encode a message of the class ``kind`` with these fields."""
    content: bytes = MESSAGES[kind](**fields).SerializeToString()
    return content


def read(content: bytes, grids: Mapping[str, Grid]) -> ImageRequest:
    """Read a ``ModelInferRequest``: its images and the wanted form of the response.

    Args:
        content: the encoded message.
        grids: the input of each model, by its name.

    Raises:
        RequestRefusedError: 404 there is no such model, 400 the request does not match the model's metadata.
    """
    request = parse("ModelInferRequest", content)
    grid = grids.get(request.model_name)
    if grid is None:
        raise RequestRefusedError(404, f"There is no model {request.model_name[:40]!r}; there are {', '.join(grids)}.")
    if len(request.id) > MAX_ID:
        raise RequestRefusedError(400, f"The id has more than {MAX_ID} characters.")
    if len(request.inputs) != 1 or len(request.raw_input_contents) > 1 or len(request.outputs) > 1:
        raise RequestRefusedError(400, "One input, and one output at most, is expected.")
    tensor = request.inputs[0]
    if tensor.name not in (v2.IMAGE, v2.PICTURE):
        raise RequestRefusedError(
            400, f"There is no input {tensor.name[:40]!r}; the inputs are {v2.IMAGE!r} and {v2.PICTURE!r}."
        )
    if len(tensor.shape) > MAX_RANK:
        raise RequestRefusedError(400, f"The shape has {len(tensor.shape)} dimensions.")
    if request.raw_input_contents and tensor.HasField("contents"):
        raise RequestRefusedError(400, "The values must be either in raw_input_contents or in contents, not in both.")
    shape = list(tensor.shape)
    raw = request.raw_input_contents[0] if request.raw_input_contents else None
    pixels = b""
    pictures: tuple[bytes, ...] = ()
    if tensor.name == v2.PICTURE:
        contents = list(tensor.contents.bytes_contents) if raw is None else v2.split_strings(raw)
        pictures = v2.pictures_of(tensor.datatype, shape, contents, grid)
    elif raw is not None:
        pixels = v2.image_of(tensor.datatype, shape, raw, grid)
    else:
        pixels = _typed_pixels(tensor.datatype, shape, tensor.contents, grid)
    return ImageRequest(
        shape[0],
        pixels,
        pictures,
        request_id=request.id,
        classification=_classification(request),
        model=request.model_name,
        version=request.model_version,
    )


def _typed_pixels(datatype: str, shape: list[int], contents: Any, grid: Grid) -> bytes:
    v2.check_image(datatype, shape, grid)
    field = _FIELD_OF[datatype]
    values = field.values(contents)
    if len(values) != grid.pixels(shape[0]):
        raise RequestRefusedError(
            400, f"The shape needs {grid.pixels(shape[0])} values in {field.name}; there are {len(values)}."
        )
    return pixels_of_array(np.fromiter(values, field.dtype, len(values)))


def _classification(request: Any) -> int | None:
    """Number of best classes wanted in place of all probabilities, from the output or else from the request."""
    holders = [request]
    if request.outputs:
        holders.insert(0, request.outputs[0])
        if request.outputs[0].name != v2.OUTPUT:
            raise RequestRefusedError(
                400, f"There is no output {request.outputs[0].name[:40]!r}; the output is {v2.OUTPUT!r}."
            )
    for holder in holders:
        if "classification" in holder.parameters:
            count: int = holder.parameters["classification"].int64_param
            if count < 1:
                raise RequestRefusedError(400, "classification must be a positive number of classes, in int64_param.")
            return count
    return None


def answer(request: ImageRequest, loaded: LoadedModel, answers: NDArray[np.float32]) -> bytes:
    """The ``ModelInferResponse`` for probabilities of shape (n, classes)."""
    if request.classification is None:
        output = {"name": v2.OUTPUT, "datatype": "FP32", "shape": list(answers.shape)}
        raw = answers.astype("<f4").tobytes()
    else:
        count = min(request.classification, answers.shape[1])
        output = {"name": v2.OUTPUT, "datatype": "BYTES", "shape": [len(answers), count]}
        raw = v2.join_strings(v2.best_classes(loaded, answers, count))
    return encode(
        "ModelInferResponse",
        model_name=loaded.name,
        model_version=str(loaded.version),
        id=request.request_id,
        outputs=[output],
        raw_output_contents=[raw],
    )


def server() -> bytes:
    """The ``ServerMetadataResponse``."""
    return encode("ServerMetadataResponse", name="mnist-edge", version=__version__, extensions=["classification"])


def metadata(loaded: LoadedModel) -> bytes:
    """The ``ModelMetadataResponse``."""
    return encode("ModelMetadataResponse", **v2.metadata(loaded))
