"""Float classifiers in ONNX files of other tools, prepared so that exported files keep the project's contract.

`onnx_preparation` makes a prepared model of a file's: with one input ``image``, float32 (batch, h, w, c) with pixels
multiplied by `pixel_scale`, and one output (batch, classes).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, MnistEdgeError, missing_extra
from mnist_edge.formats import METADATA_KEY, Contract
from mnist_edge.formats.structure import MAX_FILE_BYTES
from mnist_edge.store.files import read_bytes

SCOPES = "pkg.torch.onnx.name_scopes"  # under which PyTorch's exporter writes the modules that a node comes from
# A net that takes pixels from 0 to 1 does not begin with a sum or a product beyond these.
_LARGEST_SHIFT, _LEAST_FACTOR = 8.0, 1 / 32
_MOVES = (
    "Cast",
    "Identity",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)  # ops that leave pixels' values as they are
EXPORT_AGAIN = "Export it again, see 'From PyTorch' in docs/your-own-model.md."


def import_onnx() -> Any:
    """Import onnx.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import onnx
        import onnx.inliner
        import onnx.version_converter
    except ImportError as error:
        raise missing_extra("onnx", "train") from error
    return onnx


def read(path: Path) -> Any:
    """The ``onnx.ModelProto`` in a file, with the weights that it keeps in other files of the same folder.

    Raises:
        UsageError: no such file.
        ContentError: the file is not an ONNX model, is too large for the engines, or its weights are missing.
    """
    onnx = import_onnx()
    try:
        model = onnx.load_model_from_string(read_bytes(path))
    except MnistEdgeError:
        raise
    except Exception as error:  # protobuf has one class of errors, which is not public
        raise ContentError(
            f"{path} is not an ONNX model.", "Check that its suffix is right and that it was copied completely."
        ) from error
    outside = sorted({entry.value for item in model.graph.initializer for entry in item.external_data
                      if entry.key == "location"})  # fmt: skip
    if outside:
        try:
            onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # of the file system, of onnx's checker, or of a wrong length
            raise ContentError(
                f"{path} keeps weights in {', '.join(outside)}, which cannot be read next to it.",
                "Copy that file too, or export the model as one file: torch.onnx.export(..., external_data=False).",
            ) from error
        for item in model.graph.initializer:
            if onnx.external_data_helper.uses_external_data(item):
                refuse(path, f"keeps {item.name} in another file")
    if model.ByteSize() > MAX_FILE_BYTES:
        refuse(path, f"has {model.ByteSize():,} bytes; {MAX_FILE_BYTES:,} is the limit", "Choose a smaller model.")
    return model


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of an input or output (``onnx.ValueInfoProto``), with -1 for a free dimension."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)


def pixel_scale(model: Any) -> float:
    """The factor between a uint8 pixel and the model's input: that of its contract, if it has one.

    Without a contract it is 1/255, or 1 if the model itself begins with the scaling of pixels from 0 to 255, as a Keras
    model with a Rescaling layer does.

    Args:
        model: an ``onnx.ModelProto`` that `onnx_preparation.prepare` has prepared.
    """
    found = [item.value for item in model.metadata_props if item.key == METADATA_KEY]
    if found:
        return Contract.from_text(found[0]).pixel_scale
    return 1.0 if _scales_pixels(model.graph) else 1 / 255


def _scales_pixels(graph: Any) -> bool:
    """Whether a graph's first arithmetic op fits pixels from 0 to 255, as times 1/255 or minus 128 do."""
    constants = {item.name: item for item in graph.initializer}
    name = graph.input[0].name
    for node in graph.node:
        if name not in node.input:
            continue
        name = node.output[0]
        constant = next((constants[item] for item in node.input if item in constants), None)
        if node.op_type in ("Add", "Mul") and constant is not None:
            largest = float(np.abs(import_onnx().numpy_helper.to_array(constant)).max())
            return largest > _LARGEST_SHIFT if node.op_type == "Add" else 0 < largest < _LEAST_FACTOR
        if node.op_type not in _MOVES:
            return False
    return False


def serialized(model: Any) -> bytes:
    """The content of the file of an ``onnx.ModelProto``; equal models give equal bytes."""
    return bytes(model.SerializeToString(deterministic=True))


def answers_of(model: Any, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Run an ONNX model with ONNX Runtime on the CPU.

    Args:
        model: an ``onnx.ModelProto``.
        inputs: (n, ...), with the dtype that the model takes. A model without a free batch takes them one by one.

    Returns:
        The model's first output, float32 (n, classes).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    step = 500 if shape_of(model.graph.input[0])[:1] == (-1,) else 1
    parts = [session.run(None, {name: inputs[at : at + step]})[0] for at in range(0, len(inputs), step)]
    return np.asarray(np.concatenate(parts), np.float32)


def free_batch(model: Any) -> Any:
    """A copy of a prepared model with a free batch, if it answers several images as it answers each of them.

    An exporter that traces the model with one image writes the batch size into the shapes of reshapes. If a file with
    a free one fails or answers otherwise, the copy takes one image at a time.
    """
    onnx = import_onnx()
    free = onnx.ModelProto()
    free.CopyFrom(model)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in free.graph.initializer}
    for position, node in enumerate(free.graph.node):
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and len(shape) and shape[0] == 1:
            freed = shape.copy()
            freed[0] = 0 if -1 in shape else -1
            node.input[1] = f"free_batch_{position}"
            free.graph.initializer.append(onnx.numpy_helper.from_array(freed, node.input[1]))
            del node.attribute[:]  # with allowzero, 0 would not stand for the input's own size
    set_batch(free.graph, None)
    images = np.random.default_rng(0).random((3, *shape_of(model.graph.input[0])[1:]), np.float32)
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    try:
        same = np.allclose(answers_of(free, images), answers_of(fixed, images), rtol=1e-3, atol=1e-5)
    except Exception:  # ONNX Runtime has no public class of its errors
        same = False
    return free if same else fixed


def layer_labels(model: Any) -> list[str | None]:
    """For each node the module of PyTorch or the layer of another tool that it comes from; None if that is unknown."""
    return [_label(node) for node in model.graph.node]


def _label(node: Any) -> str | None:
    scopes = next((item.value for item in node.metadata_props if item.key == SCOPES), None)
    if scopes is not None:
        try:
            parts = [str(part) for part in ast.literal_eval(scopes)][:-1]
        except (ValueError, SyntaxError, TypeError):
            parts = []
    else:
        parts = node.name.strip("/").split("/")[:-1]
    label = re.sub(r"[^\w.-]", "_", parts[-1]) if parts else ""
    return label or None


def refuse(path: Path, why: str, remedy: str = EXPORT_AGAIN) -> NoReturn:
    """Raise a `ContentError` about a file."""
    raise ContentError(f"{path} {why}.", remedy)


def set_batch(graph: Any, batch: int | None) -> None:
    """Set the first dimension of input and output; None for a free one."""
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and batch is None:
            dims[0].dim_param = "batch"
        elif dims:
            dims[0].dim_value = batch
