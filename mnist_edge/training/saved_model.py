"""SavedModel folders of TensorFlow: the float ONNX file that is made of one, from which `export` goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mnist_edge.data.fetch import Progress
from mnist_edge.errors import ContentError, MnistEdgeError, UsageError, missing_extra, one_line
from mnist_edge.models import onnx_model
from mnist_edge.models.backend import import_tensorflow, installed_versions
from mnist_edge.models.onnx_preparation import INPUT_NAME, OPSET
from mnist_edge.store.files import write_bytes
from mnist_edge.store.manifest import fingerprint, sha256_of_file
from mnist_edge.store.streams import quiet

SIGNATURE = "serving_default"  # the function that TensorFlow Serving calls, and the one that Keras writes
_MADE_OF = "mnist_edge.saved_model"  # metadata key of the ONNX file; its value is the fingerprint of the folder
_REMEDY = "Save it again in Keras: model.export(FOLDER); or save a .keras file and name that."


def to_onnx(folder: Path, workspace: Path, progress: Progress) -> Path:
    """Convert a SavedModel to ``WORKSPACE/NAME.onnx``. Not repeated for a folder with the same content.

    TensorFlow loads the folder, which can read and write files as the user.

    Args:
        folder: the SavedModel. Its signature ``serving_default`` must take one tensor and return one.
        workspace: to which the file is written.
        progress: called with the number of finished steps and of all.

    Returns:
        Path of the float ONNX file.

    Raises:
        UsageError: the file exists and was not made of a SavedModel, or the folder is the model's in the workspace.
        ContentError: the folder is damaged, takes no images, has another signature, or has ops that ONNX has not.
        MissingError: TensorFlow or tf2onnx is not installed.
    """
    name = folder.resolve().name
    target = workspace / f"{name}.onnx"
    if (workspace / name).resolve() == folder.resolve():
        raise UsageError(f"{folder} would be the folder of the exported files, too.", "Name another workspace with -o.")
    key = _key(folder)
    if target.exists():
        made_of = _made_of(target)
        if made_of == key:
            return target
        if made_of is None:
            raise UsageError(
                f"{target} exists and was not made of a SavedModel; {folder} would be converted to it.",
                "Rename one of them, or name another workspace with -o.",
            )
    progress("converting the SavedModel", 0, 1)
    onnx = onnx_model.import_onnx()
    model = _converted(folder)
    onnx.helper.set_model_props(model, {_MADE_OF: key})
    workspace.mkdir(parents=True, exist_ok=True)
    write_bytes(target, onnx_model.serialized(model))
    progress("converting the SavedModel", 1, 1)
    return target


def _key(folder: Path) -> str:
    """Fingerprint of what the ONNX file depends on: the folder's files, this code, and the packages that convert it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint(
        {
            "files": {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files},
            "code": sha256_of_file(Path(__file__)),
            "versions": installed_versions(("tensorflow", "tf2onnx", "onnx")),
        }
    )


def _made_of(path: Path) -> str | None:
    """The key of the SavedModel that an ONNX file was made of; None if it was not made of one.

    Raises:
        ContentError: the file is damaged.
    """
    try:
        model = onnx_model.read(path)
    except ContentError as error:
        raise ContentError(
            error.cause, "Delete it, after which it is made again, or name another workspace."
        ) from error
    return {item.key: str(item.value) for item in model.metadata_props}.get(_MADE_OF)


def _converted(folder: Path) -> Any:
    """The ``onnx.ModelProto`` of a SavedModel's signature."""
    tensorflow = import_tensorflow()
    try:
        import tf2onnx
    except ImportError as error:
        raise missing_extra("tf2onnx", "train") from error
    # The function by which TensorFlow's own converters turn variables and captured tensors into constants.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        with quiet():
            loaded = tensorflow.saved_model.load(str(folder))
            if SIGNATURE not in loaded.signatures:
                raise ContentError(f"{folder} has no signature {SIGNATURE}.", _REMEDY)
            function = loaded.signatures[SIGNATURE]
            inputs, outputs = function.structured_input_signature[1], function.structured_outputs
            if len(inputs) != 1 or len(outputs) != 1:
                counts = f"{len(inputs)} inputs and {len(outputs)} outputs"
                raise ContentError(f"{folder} has {counts}, which is no image classifier.", _REMEDY)
            (name, taken), (answer,) = next(iter(inputs.items())), outputs
            if taken.dtype != tensorflow.float32 or taken.shape.rank != 4 or None in taken.shape[1:]:
                shape = f"{taken.dtype.name} {taken.shape}"
                raise ContentError(f"{folder} takes {shape}, not float32 (n, height, width, channels).", _REMEDY)
            spec = tensorflow.TensorSpec(taken.shape, taken.dtype, name=INPUT_NAME)
            called = tensorflow.function(lambda image: function(**{name: image})[answer])
            frozen = convert_variables_to_constants_v2(called.get_concrete_function(spec))
            names = ([tensor.name for tensor in tensors] for tensors in (frozen.inputs, frozen.outputs))
            model, _ = tf2onnx.convert.from_graph_def(frozen.graph.as_graph_def(), None, *names, opset=OPSET)
    except MnistEdgeError:
        raise
    except Exception as error:  # TensorFlow and tf2onnx raise exceptions of many classes
        text = one_line(str(error) or type(error).__name__)[:200].rstrip(".")
        raise ContentError(f"{folder} cannot be converted to ONNX: {text}.", _REMEDY) from error
    return model
