"""The structure of a model file, in the same terms for all formats, and the contract in its metadata."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields

from mnist_edge.errors import ContentError

OUTPUTS = ("probabilities", "logits", "sigmoid")
METADATA_KEY = "mnist_edge"  # under which the contract is in the metadata of TFLite and ONNX files
FEATURES = "features"  # the preprocessor of models whose input is no picture
CHANNELS = (1, 3)  # of an image: grey; or red, green and blue, in this order


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the file declares it.

    Attributes:
        name: unique in the file.
        dtype: NumPy's name of the dtype; ``unknown`` if the parser does not know it.
        shape: with -1 for a free dimension.
        scale: of the quantization, real = (quantized - zero_point) * scale: empty for a float tensor, one value for
            per-tensor quantization, one for each index of ``axis`` for per-channel quantization.
        zero_point: as ``scale``.
        axis: the dimension that has a scale for each index; None without per-channel quantization.
        constant: whether the file contains the tensor's values.
        size_bytes: size of a constant's values; None if the format does not store them as plain little-endian bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int | None = None
    constant: bool = False
    size_bytes: int | None = None


@dataclass(frozen=True)
class OpInfo:
    """One operation of the graph.

    Attributes:
        kind: the format's name of the op, such as ``CONV_2D`` or ``Conv``.
        inputs: names of the tensors that it reads; an optional input that is left out has an empty name.
        outputs: names of the tensors that it computes.
        attributes: integer options, such as ``strides`` (height, width).
        numbers: floating-point options, such as ``alpha``.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """Facts on which a converter and the engines must agree. They are stored inside the file, as JSON.

    Attributes:
        model: the model's name.
        class_names: one for each output, in order.
        quantization: the file's precision: ``int8``, ``float16`` or ``float32``.
        preprocessor: the name of the conversion of a picture to pixels: ``digit`` or ``resize`` (see
            `mnist_edge.vision.pictures`); ``features`` if the input is an array of real values, not a picture.
        reference_sha256: SHA-256 of ``reference.npz``, the float answers that the file is verified against.
        tool_version: the version of mnist-edge that made the file.
        pixel_scale: the model's real input is ``pixel * pixel_scale`` for a uint8 pixel; 1 for features. A
            quantized input tensor holds that real value with its own scale and zero point.
        layout: order of the input's dimensions; only ``NHWC`` is known.
        output: ``probabilities`` or ``logits`` of the classes, or ``sigmoid``: the probability of the second of two
            classes, as the file's only value.
    """

    model: str
    class_names: tuple[str, ...]
    quantization: str
    preprocessor: str
    reference_sha256: str
    tool_version: str
    pixel_scale: float = 1 / 255
    layout: str = "NHWC"
    output: str = "probabilities"

    def to_text(self) -> str:
        """The contract as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Contract:
        """The inverse of `to_text`. Unknown keys are ignored, so that files of newer versions can be read.

        Raises:
            ContentError: the text is not a contract, or its layout or output is not known.
        """
        try:
            value = json.loads(text)
            known = {field.name: value[field.name] for field in fields(cls) if field.name in value}
            known["class_names"] = tuple(str(name) for name in known["class_names"])
            known["pixel_scale"] = float(known["pixel_scale"])
            contract = cls(**known)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ContentError(
                "The metadata that mnist-edge wrote into this file is damaged.", "Export the file again."
            ) from error
        if contract.layout != "NHWC" or contract.output not in OUTPUTS:
            raise ContentError(
                f"The file declares layout {contract.layout!r} and output {contract.output!r}.",
                f"This version knows NHWC, and {', '.join(OUTPUTS)}: upgrade mnist-edge.",
            )
        return contract


@dataclass(frozen=True)
class ModelStructure:
    """Structure of a model file: its ops, tensors and metadata.

    Attributes:
        format: ``c``, ``keras``, ``onnx``, ``tflite`` or ``wasm``.
        inputs: the tensors that the graph takes, without constants.
        outputs: the tensors that it returns.
        ops: in the order of execution.
        tensors: all tensors that the file declares.
        metadata: texts by key.
    """

    format: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: tuple[OpInfo, ...]
    tensors: tuple[TensorInfo, ...]
    metadata: dict[str, str]

    @property
    def contract(self) -> Contract | None:
        """The contract in the metadata; None if mnist-edge did not make the file.

        Raises:
            ContentError: the contract is damaged, or of a kind that this version does not know.
        """
        text = self.metadata.get(METADATA_KEY)
        return None if text is None else Contract.from_text(text)
