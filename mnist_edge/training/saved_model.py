"""SavedModel folders of TensorFlow: the float ONNX file that is made of one, from which `export` goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mnist_edge.data.fetch import Progress
from mnist_edge.errors import ContentError, MnistEdgeError, UsageError, one_line
from mnist_edge.models import onnx_model
from mnist_edge.models.backend import import_tensorflow
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
        UsageError: the file exists and was not made of a SavedModel.
        ContentError: the folder is damaged, has another signature, or has ops that ONNX has not.
        MissingError: TensorFlow or tf2onnx is not installed.
    """
    target = workspace / f"{folder.resolve().name}.onnx"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    key = fingerprint({"opset": OPSET, **{path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}})
    if target.exists():
        made_of = {item.key: item.value for item in onnx_model.read(target).metadata_props}.get(_MADE_OF)
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


def _converted(folder: Path) -> Any:
    """The ``onnx.ModelProto`` of a SavedModel's signature."""
    tensorflow = import_tensorflow()
    import tf2onnx

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
            spec = tensorflow.TensorSpec(taken.shape, taken.dtype, name=INPUT_NAME)
            called = tensorflow.function(lambda image: function(**{name: image})[answer])
            model, _ = tf2onnx.convert.from_function(called, input_signature=[spec], opset=OPSET)
    except MnistEdgeError:
        raise
    except Exception as error:  # TensorFlow and tf2onnx raise exceptions of many classes
        text = one_line(str(error) or type(error).__name__)[:200].rstrip(".")
        raise ContentError(f"{folder} cannot be converted to ONNX: {text}.", _REMEDY) from error
    return model
