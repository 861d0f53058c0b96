"""Parser of ``.keras`` files: layers and input shapes, from the JSON inside the archive."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from mnist_edge.errors import ContentError
from mnist_edge.formats.model_structure import ModelStructure, OpInfo, TensorInfo

MAX_CONFIG_BYTES = 1 << 24


def read(content: bytes) -> ModelStructure:
    """The structure of a Keras 3 model: one op for each layer. Weights are not read, and no tensors are listed.

    Raises:
        ContentError: the content is not a Keras 3 archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo("config.json").file_size > MAX_CONFIG_BYTES:
                raise ValueError
            config = json.loads(archive.read("config.json"))
            description = json.loads(archive.read("metadata.json"))
        layers: list[dict[str, Any]] = config["config"]["layers"]
        ops = tuple(OpInfo(layer["class_name"], (), (layer["config"]["name"],)) for layer in layers)
        inputs = tuple(
            TensorInfo(layer["config"]["name"], layer["config"].get("dtype", "float32"), _shape(layer["config"]))
            for layer in layers
            if layer["class_name"] == "InputLayer"
        )
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise ContentError(
            "The file is not a Keras 3 model (.keras archive).", "Save it again with model.save('name.keras')."
        ) from error
    return ModelStructure(
        "keras", inputs, (), ops, (), {"keras_version": str(description.get("keras_version", "unknown"))}
    )


def _shape(config: dict[str, Any]) -> tuple[int, ...]:
    return tuple(-1 if size is None else int(size) for size in config["batch_shape"])
