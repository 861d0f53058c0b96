"""One description of a model file, whatever its format, and the contract that travels inside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields

from mnist_edge.errors import ContentError

METADATA_KEY = "mnist_edge"


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the file declares it.

    ``shape`` has -1 for a free dimension. ``scale`` and ``zero_point`` are empty for a float tensor, have one entry
    for per-tensor quantization, and one per slice of ``axis`` for per-channel: real = (q - zero_point) * scale.
    ``size_bytes`` is what a constant has of data, None where the format does not lay them out plainly.
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
    """One operation: tensors that it reads and writes, by name; its whole numbers (strides) and fractions (alpha).

    An optional input that is left out has an empty name.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """What a converter tells every engine, inside the file: the one place where the two agree.

    The network's real input is ``pixel * pixel_scale`` for a uint8 pixel, in ``layout`` order; a quantized input tensor
    puts that on its own grid. ``output`` says what the file answers with: ``probabilities`` or ``logits``.
    ``preprocessor`` names how a picture becomes pixels (see ``runtime/pictures.py``).
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
        """The contract as one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Contract:
        """The inverse of `to_text`. Unknown keys are ignored.

        Raises:
            ContentError: not a contract.
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
        if contract.layout != "NHWC" or contract.output not in ("probabilities", "logits"):
            raise ContentError(
                f"The file declares layout {contract.layout!r} and output {contract.output!r}.",
                "This version knows NHWC, and probabilities or logits: upgrade mnist-edge.",
            )
        return contract


@dataclass(frozen=True)
class ModelFile:
    """What is inside a model file."""

    format: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: tuple[OpInfo, ...]
    tensors: tuple[TensorInfo, ...]
    metadata: dict[str, str]

    @property
    def contract(self) -> Contract | None:
        """The contract in the metadata; None in a file that mnist-edge did not make."""
        text = self.metadata.get(METADATA_KEY)
        return None if text is None else Contract.from_text(text)
