"""Messages of the Open Inference Protocol and of gRPC's health protocol, and how a request is read and answered.

The message classes are built when this module is imported, in a descriptor pool of their own: a client library in the
same process may define the same messages. Field numbers and types are those of the protocol's public description
(github.com/kserve/open-inference-protocol).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from mnist_edge.serving.models import Loaded
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
    # In the protocol the fields of Parameter are a oneof, which has the same form when it is encoded.
    "Parameter": "bool bool_param=1; int64 int64_param=2; string string_param=3",
    "Contents": "bool[] bool_contents=1; int32[] int_contents=2; int64[] int64_contents=3; uint32[] uint_contents=4;"
    "uint64[] uint64_contents=5; float[] fp32_contents=6; double[] fp64_contents=7; bytes[] bytes_contents=8",
    "ModelInferRequest": "string model_name=1; string model_version=2; string id=3; Parameter{} parameters=4;"
    "Tensor[] inputs=5; RequestedOutput[] outputs=6; bytes[] raw_input_contents=7",
    "ModelInferResponse": "string model_name=1; string model_version=2; string id=3; Parameter{} parameters=4;"
    "Tensor[] outputs=5; bytes[] raw_output_contents=6",
    "HealthCheckRequest": "string service=1",
    # An enum in the protocol, which is encoded like an int32.
    "HealthCheckResponse": "int32 status=1",
}
_FIELD = re.compile(r"(\w+)(\[\]|\{\})? (\w+)=(\d+)")
SERVING, NOT_SERVING = 1, 2
# Where the values of a data type are, if they are not in raw_input_contents.
_CONTENTS = {
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
_WIDEST = {"uint_contents": "<u4", "uint64_contents": "<u8", "int_contents": "<i4", "int64_contents": "<i8",
           "fp32_contents": "<f4", "fp64_contents": "<f8"}  # fmt: skip


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="mnist_edge.proto", package="mnist_edge", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for kind, many, field, number in _FIELD.findall(fields):
            if many == "{}":
                entry = message.nested_type.add(name=f"{field.title()}Entry")
                entry.options.map_entry = True
                _add_field(entry, "key", 1, "string")
                _add_field(entry, "value", 2, kind)
                _add_field(message, field, int(number), f"{name}.{entry.name}", many=True)
            else:
                _add_field(message, field, int(number), kind, many=many == "[]")
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"mnist_edge.{name}")) for name in _MESSAGES}


def _add_field(message: DescriptorProto, name: str, number: int, kind: str, many: bool = False) -> None:
    field = message.field.add(name=name, number=number)
    field.label = FieldDescriptorProto.LABEL_REPEATED if many else FieldDescriptorProto.LABEL_OPTIONAL
    if kind.partition(".")[0] in _MESSAGES:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".mnist_edge.{kind}"
    else:
        field.type = getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}")


MESSAGES = _classes()


def parse(name: str, content: bytes) -> Any:
    """A message of this name.

    Raises:
        RequestRefusedError: 400, the bytes are not one.
    """
    try:
        return MESSAGES[name].FromString(content)
    except DecodeError:
        raise RequestRefusedError(400, f"The message is not a {name}.") from None


def encode(kind: str, /, **fields: Any) -> bytes:
    """The bytes of a message with these fields."""
    content: bytes = MESSAGES[kind](**fields).SerializeToString()
    return content


def read(content: bytes, grids: Mapping[str, Grid]) -> ImageRequest:
    """The images of a ``ModelInferRequest``, and how it wants the answer.

    Args:
        content: the message.
        grids: what each model takes.

    Raises:
        RequestRefusedError: 404 there is no such model, 400 whatever does not fit the model's metadata.
    """
    asked = parse("ModelInferRequest", content)
    grid = grids.get(asked.model_name)
    if grid is None:
        raise RequestRefusedError(404, f"There is no model {asked.model_name[:40]!r}; there are {', '.join(grids)}.")
    if len(asked.id) > MAX_ID:
        raise RequestRefusedError(400, f"The id has more than {MAX_ID} characters.")
    if len(asked.inputs) != 1 or len(asked.raw_input_contents) > 1 or len(asked.outputs) > 1:
        raise RequestRefusedError(400, "One input, and one output at most, is expected.")
    tensor = asked.inputs[0]
    if tensor.name not in (v2.IMAGE, v2.PICTURE):
        raise RequestRefusedError(400, f"There is no input {tensor.name[:40]!r}; it is {v2.IMAGE!r} or {v2.PICTURE!r}.")
    if len(tensor.shape) > MAX_RANK:
        raise RequestRefusedError(400, f"The shape has {len(tensor.shape)} dimensions.")
    if asked.raw_input_contents and tensor.HasField("contents"):
        raise RequestRefusedError(400, "The values are either in raw_input_contents or in contents.")
    shape = list(tensor.shape)
    raw = asked.raw_input_contents[0] if asked.raw_input_contents else None
    pixels = b""
    pictures: tuple[bytes, ...] = ()
    if tensor.name == v2.PICTURE:
        contents = list(tensor.contents.bytes_contents) if raw is None else v2.split_strings(raw)
        pictures = v2.pictures_of(tensor.datatype, shape, contents, grid)
    elif raw is not None:
        pixels = v2.image_of(tensor.datatype, shape, raw, grid)
    else:
        pixels = _typed(tensor.datatype, shape, tensor.contents, grid)
    return ImageRequest(
        shape[0],
        pixels,
        pictures,
        request_id=asked.id,
        classification=_classification(asked),
        model=asked.model_name,
        version=asked.model_version,
    )


def _typed(datatype: str, shape: list[int], contents: Any, grid: Grid) -> bytes:
    v2.check_image(datatype, shape, grid)
    name = _CONTENTS[datatype]
    values = getattr(contents, name)
    if len(values) != grid.pixels(shape[0]):
        raise RequestRefusedError(
            400, f"The shape needs {grid.pixels(shape[0])} values in {name}; there are {len(values)}."
        )
    return pixels_of_array(np.fromiter(values, _WIDEST[name], len(values)))


def _classification(asked: Any) -> int | None:
    """How many best classes are wanted in place of all probabilities: of the output, or of the request."""
    holders = [asked]
    if asked.outputs:
        holders.insert(0, asked.outputs[0])
        if asked.outputs[0].name != v2.OUTPUT:
            raise RequestRefusedError(400, f"There is no output {asked.outputs[0].name[:40]!r}; it is {v2.OUTPUT!r}.")
    for holder in holders:
        if "classification" in holder.parameters:
            count: int = holder.parameters["classification"].int64_param
            if count < 1:
                raise RequestRefusedError(400, "classification is a number of classes, in int64_param.")
            return count
    return None


def answer(request: ImageRequest, loaded: Loaded, answers: NDArray[np.float32]) -> bytes:
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


def metadata(loaded: Loaded) -> bytes:
    """The ``ModelMetadataResponse``."""
    return encode("ModelMetadataResponse", **v2.metadata(loaded))
