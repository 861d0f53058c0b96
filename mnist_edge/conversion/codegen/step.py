"""Steps of generated C, the regions of its scratch buffer, and how a layer reads its input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnist_edge.formats import OpInfo, TensorInfo

BLOCK = 16  # channels of a 512-bit register: each has a lane of 32 bits, which adds up GROUP products
OFFSET = 128  # activations are stored as q + 128
_ALIGN = 64


def stored_offset(tensor: TensorInfo) -> int:
    """Number that is added to the values of a computed tensor, int8 or uint8, to store them as unsigned bytes."""
    return {"uint8": 0, "int8": OFFSET}[tensor.dtype]


@dataclass
class Buffer:
    """A region of the scratch buffer, of a tensor or of one step's padded input; ``pointer`` is its name in C."""

    pointer: str
    size: int
    first: int  # step that writes it
    last: int  # last step that reads it
    at: int = -1


@dataclass
class Step:
    """One kernel's call. ``name`` is the prefix of its identifiers in C.

    ``pad`` is (top, bottom, left, right) around its input. ``padded`` names a copy of the input with that padding.
    It is None if no copy is needed, or if the step before has written its output with that ``border``. ``pool`` is 2 if
    the kernel also computes the maximum of 2 x 2 outputs. ``limits`` are the smallest and the largest output, if they
    are not those of ``op``.
    """

    kind: str
    op: OpInfo
    comment: str
    sources: list[str]
    target: str
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    padded: str | None = None
    border: tuple[int, int, int, int] = (0, 0, 0, 0)
    pool: int = 1
    limits: tuple[int, int] | None = None
    name: str = ""

    @property
    def ops(self) -> str:
        """The ops that the kernel computes."""
        return f"{self.kind}, MAX_POOL_2D" if self.pool > 1 else self.kind

    @property
    def pads(self) -> bool:
        """Whether the input is copied with a border."""
        return self.padded is not None and any(self.pad)


@dataclass(frozen=True)
class LayerInput:
    """How a convolution or dense layer reads its input: for each output pixel, runs of ``width`` contiguous bytes.

    ``pixels`` is the output's (height, width), after pooling; ``step`` the distance in bytes from one output pixel's
    input to that of the next one (down, across), before pooling; ``run_at`` the distance of each run from the first.
    """

    pixels: tuple[int, int]
    step: tuple[int, int]
    run_at: list[int]
    width: int


def layer_input(step: Step, tensors: dict[str, TensorInfo]) -> LayerInput:
    """The input of a CONV_2D or FULLY_CONNECTED step; a dense layer's rows are the pixels of one output row."""
    source, weights, out = (tensors[name] for name in (step.op.inputs[0], step.op.inputs[1], step.target))
    if step.kind == "FULLY_CONNECTED":
        rows = int(np.prod(out.shape[1:])) // weights.shape[0]
        return LayerInput((1, rows), (0, weights.shape[1]), [0], weights.shape[1])
    _, height, width, depth = weights.shape
    row = (source.shape[2] + step.pad[2] + step.pad[3]) * depth
    down, across = step.op.attributes["dilations"]
    strides = step.op.attributes["strides"]
    if across == 1:  # a kernel's row is one run
        run_at, length = [y * down * row for y in range(height)], width * depth
    else:
        run_at = [y * down * row + x * across * depth for y in range(height) for x in range(width)]
        length = depth
    return LayerInput((out.shape[1], out.shape[2]), (strides[0] * row, strides[1] * depth), run_at, length)


def place(buffers: list[Buffer]) -> int:
    """Give every buffer the lowest offset that is free from its first to its last step; returns the size of all.

    Args:
        buffers: changed. Offsets are multiples of 64 bytes.
    """
    for buffer in sorted(buffers, key=lambda item: -item.size):
        taken = sorted(
            (other.at, other.at + other.size) for other in buffers
            if other.at >= 0 and other.first <= buffer.last and buffer.first <= other.last
        )  # fmt: skip
        at = 0
        for low, high in taken:
            if at + buffer.size <= low:
                break
            at = max(at, -(-high // _ALIGN) * _ALIGN)
        buffer.at = at
    return max((buffer.at + buffer.size for buffer in buffers), default=0)
