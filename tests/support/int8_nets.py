"""int8 TFLite files built op by op with random weights and scales, in milliseconds and without a converter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mnist_edge.formats import tflite
from mnist_edge.int8.graph import padding

SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3
_CODES = {
    "ADD": 0, "AVERAGE_POOL_2D": 1, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 9, "MAX_POOL_2D": 17,
    "RESHAPE": 22, "SOFTMAX": 25, "QUANTIZE": 114, "CONCATENATION": 2, "LOGISTIC": 14, "MUL": 18, "MEAN": 40, "SUB": 41,
    "LEAKY_RELU": 98, "DEQUANTIZE": 6, "RELU": 19, "RELU_N1_TO_1": 20, "RELU6": 21, "TANH": 28, "PAD": 34,
    "TRANSPOSE": 39, "SQUEEZE": 43, "RESIZE_NEAREST_NEIGHBOR": 97, "HARD_SWISH": 117,
}  # fmt: skip


@dataclass
class Net:
    """A graph under construction. ``last`` is the tensor that the next op reads."""

    draw: np.random.Generator
    shape: tuple[int, ...]  # of ``last``, without the batch
    scale: float = 1 / 255
    zero_point: int = -128
    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    last: int = 0

    def tensor(self, shape: tuple[int, ...], kind: str, scale: Any, zero_point: Any, data: Any = None) -> int:
        from ai_edge_litert import schema_py_generated as schema

        tensor, grid, buffer = schema.TensorT(), schema.QuantizationParametersT(), schema.BufferT()
        tensor.shape, tensor.type = list(shape), {"int8": 9, "uint8": 3, "int32": 2, "float32": 0}[kind]
        tensor.name = f"t{len(self.tensors)}".encode()
        grid.scale, grid.zeroPoint = np.atleast_1d(np.float32(scale)), np.atleast_1d(np.int64(zero_point))
        tensor.quantization = grid
        if data is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def op(self, kind: str, inputs: list[int], options: Any, code: int, shape: tuple[int, ...], **grid: Any) -> None:
        """Append an op whose output becomes ``last``."""
        from ai_edge_litert import schema_py_generated as schema

        if kind not in self.codes:
            self.codes.append(kind)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs = self.codes.index(kind), inputs
        op.builtinOptions, op.builtinOptionsType = options, code
        self.scale, self.zero_point = grid.get("scale", self.scale), grid.get("zero_point", self.zero_point)
        self.last = self.tensor((1, *shape), "int8", self.scale, self.zero_point)
        op.outputs, self.shape = [self.last], shape
        self.operators.append(op)

    def grid(self) -> dict[str, Any]:
        """A random scale and zero point for the output of an op."""
        return {"scale": float(self.draw.uniform(0.01, 0.08)), "zero_point": int(self.draw.integers(-128, 40))}

    def parameters(self, shape: tuple[int, ...], axis: int, fan_in: int) -> list[int]:
        """Random weights and a bias, scaled so that activations neither vanish nor saturate."""
        channels = shape[axis]
        weights = self.draw.integers(-127, 128, shape).astype(np.int8)
        scales = self.draw.uniform(0.5, 1.5, channels) * 3 / (127 * math.sqrt(fan_in))
        bias = self.draw.integers(-2000, 2000, channels).astype(np.int32)
        first = self.tensor(shape, "int8", scales, [0] * channels, weights)
        self.tensors[first].quantization.quantizedDimension = axis
        return [first, self.tensor((channels,), "int32", scales * self.scale, [0] * channels, bias)]

    def largest_bias(self, channel: int) -> None:
        """Give a channel of the last layer weights of 0 and the largest bias: 32 bits are too few to round its sum."""
        source, weights, bias = (self.tensors[index] for index in self.operators[-1].inputs)
        scale = 0.97 * 2**-28 * self.scale
        weights.quantization.scale[channel] = scale / source.quantization.scale[0]
        bias.quantization.scale[channel] = scale
        values = self.buffers[weights.buffer].data.view(np.int8).reshape(weights.shape).copy()
        np.moveaxis(values, weights.quantization.quantizedDimension, 0)[channel] = 0
        biases = self.buffers[bias.buffer].data.view(np.int32).copy()
        biases[channel] = 2**31 - 1
        self.buffers[weights.buffer].data, self.buffers[bias.buffer].data = (
            made.ravel().view(np.uint8) for made in (values, biases)
        )

    def conv(
        self,
        channels: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pad: int,
        dilation: int = 1,
        act: int = RELU,
        groups: int = 1,
    ) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = pad, *stride
        options.dilationHFactor = options.dilationWFactor = dilation
        options.fusedActivationFunction = act
        source, depth = self.last, self.shape[2] // groups
        made = self.parameters((channels, *kernel, depth), 0, math.prod(kernel) * depth)
        sizes = self.sizes(kernel, stride, pad, dilation)
        self.op(
            "CONV_2D", [source, *made], options, schema.BuiltinOptions.Conv2DOptions, (*sizes, channels), **self.grid()
        )

    def depthwise(
        self, multiplier: int, kernel: tuple[int, int], stride: tuple[int, int], pad: int, dilation: int = 1
    ) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.strideH, options.strideW = pad, *stride
        options.dilationHFactor = options.dilationWFactor = dilation
        options.depthMultiplier, options.fusedActivationFunction = multiplier, RELU6
        source, channels = self.last, self.shape[2] * multiplier
        made = self.parameters((1, *kernel, channels), 3, math.prod(kernel))
        sizes = self.sizes(kernel, stride, pad, dilation)
        code = schema.BuiltinOptions.DepthwiseConv2DOptions
        self.op("DEPTHWISE_CONV_2D", [source, *made], options, code, (*sizes, channels), **self.grid())

    def pool(self, kind: str, kernel: tuple[int, int], stride: tuple[int, int], pad: int) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.Pool2DOptionsT()
        options.padding, options.strideH, options.strideW = pad, *stride
        options.filterHeight, options.filterWidth = kernel
        sizes = self.sizes(kernel, stride, pad, 1)
        self.op(kind, [self.last], options, schema.BuiltinOptions.Pool2DOptions, (*sizes, self.shape[2]))

    def dense(self, units: int, act: int = RELU) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction, options.keepNumDims = act, len(self.shape) > 1
        source, width = self.last, self.shape[-1]
        made = self.parameters((units, width), 0, width)
        code = schema.BuiltinOptions.FullyConnectedOptions
        self.op("FULLY_CONNECTED", [source, *made], options, code, (*self.shape[:-1], units), **self.grid())

    def reshape(self, *shape: int) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.ReshapeOptionsT()
        options.newShape = [1, *shape]
        wanted = self.tensor((len(shape) + 1,), "int32", [], [], np.array([1, *shape], np.int32))
        self.op("RESHAPE", [self.last, wanted], options, schema.BuiltinOptions.ReshapeOptions, shape)

    def add(self, other: int) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.AddOptionsT()
        options.fusedActivationFunction = RELU
        self.op("ADD", [self.last, other], options, schema.BuiltinOptions.AddOptions, self.shape, **self.grid())

    def constant(self, shape: tuple[int, ...], **grid: Any) -> int:
        """A random int8 constant with one scale."""
        grid = grid or self.grid()
        return self.tensor(
            shape, "int8", grid["scale"], grid["zero_point"], self.draw.integers(-128, 128, shape, np.int8)
        )

    def pair(self, kind: str, first: int, second: int, act: int = NONE, **grid: Any) -> None:
        """ADD, SUB or MUL of two tensors; the output has the shape of ``last``."""
        from ai_edge_litert import schema_py_generated as schema

        options = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}[kind]()
        options.fusedActivationFunction = act
        code = getattr(schema.BuiltinOptions, f"{kind.capitalize()}Options")
        self.op(kind, [first, second], options, code, self.shape, **(grid or self.grid()))

    def mean(self, axes: tuple[int, ...], keep: bool, **grid: Any) -> None:
        """MEAN over dimensions, of which 0 is the batch."""
        from ai_edge_litert import schema_py_generated as schema

        options = schema.ReducerOptionsT()
        options.keepDims = keep
        over = self.tensor((len(axes),), "int32", [], [], np.array(axes, np.int32))
        rank = len(self.shape) + 1
        gone = {axis % rank for axis in axes}
        shape = tuple(1 if at in gone else size for at, size in enumerate(self.shape, 1) if keep or at not in gone)
        code = schema.BuiltinOptions.ReducerOptions
        self.op("MEAN", [self.last, over], options, code, shape, **(grid or self.grid()))

    def concatenate(self, others: list[int], axis: int) -> None:
        """CONCATENATION of ``last`` and other tensors of its scale, along a dimension; 0 is the batch."""
        from ai_edge_litert import schema_py_generated as schema

        options, at = schema.ConcatenationOptionsT(), axis % (len(self.shape) + 1) - 1
        options.axis = axis
        size = sum(self.tensors[index].shape[at + 1] for index in (self.last, *others))
        shape = (*self.shape[:at], size, *self.shape[at + 1 :])
        self.op("CONCATENATION", [self.last, *others], options, schema.BuiltinOptions.ConcatenationOptions, shape)

    def leaky_relu(self, alpha: float, **grid: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.LeakyReluOptionsT()
        options.alpha = alpha
        code = schema.BuiltinOptions.LeakyReluOptions
        self.op("LEAKY_RELU", [self.last], options, code, self.shape, **(grid or self.grid()))

    def logistic(self) -> None:
        self.op("LOGISTIC", [self.last], None, 0, self.shape, scale=1 / 256, zero_point=-128)

    def unary(self, kind: str, **grid: Any) -> None:
        """An op of one input without options: RELU, RELU6, RELU_N1_TO_1, TANH or HARD_SWISH."""
        from ai_edge_litert import schema_py_generated as schema

        options = {"HARD_SWISH": (schema.HardSwishOptionsT, schema.BuiltinOptions.HardSwishOptions)}.get(kind)
        made, code = (options[0](), options[1]) if options else (None, 0)
        if kind == "TANH":
            grid = {"scale": 1 / 128, "zero_point": 0}
        self.op(kind, [self.last], made, code, self.shape, **(grid or self.grid()))

    def rearrange(self, kind: str, numbers: Any, shape: tuple[int, ...], options: Any = None, code: int = 0) -> None:
        """PAD, TRANSPOSE or RESIZE_NEAREST_NEIGHBOR by a constant, to a shape."""
        numbers = np.array(numbers, np.int32)
        self.op(kind, [self.last, self.tensor(numbers.shape, "int32", [], [], numbers)], options, code, shape)

    def pad(self, *pads: tuple[int, int]) -> None:
        """PAD of the dimensions behind the batch."""
        shape = tuple(size + sum(pad) for size, pad in zip(self.shape, pads, strict=True))
        self.rearrange("PAD", [(0, 0), *pads], shape)

    def transpose(self, *order: int) -> None:
        """TRANSPOSE of the dimensions behind the batch; ``order`` begins with 1."""
        self.rearrange("TRANSPOSE", [0, *order], tuple(self.shape[axis - 1] for axis in order))

    def resize(self, height: int, width: int, corners: bool = False, centres: bool = False) -> None:
        """RESIZE_NEAREST_NEIGHBOR."""
        from ai_edge_litert import schema_py_generated as schema

        options = schema.ResizeNearestNeighborOptionsT()
        options.alignCorners, options.halfPixelCenters = corners, centres
        code = schema.BuiltinOptions.ResizeNearestNeighborOptions
        self.rearrange("RESIZE_NEAREST_NEIGHBOR", [height, width], (height, width, self.shape[2]), options, code)

    def squeeze(self) -> None:
        """SQUEEZE of all dimensions of one element behind the batch."""
        from ai_edge_litert import schema_py_generated as schema

        options = schema.SqueezeOptionsT()
        options.squeezeDims = [at for at, size in enumerate(self.shape, 1) if size == 1]
        shape = tuple(size for size in self.shape if size > 1)
        self.op("SQUEEZE", [self.last], options, schema.BuiltinOptions.SqueezeOptions, shape)

    def quantize(self, **grid: Any) -> None:
        """QUANTIZE to another scale and zero point."""
        from ai_edge_litert import schema_py_generated as schema

        code = schema.BuiltinOptions.QuantizeOptions
        self.op("QUANTIZE", [self.last], schema.QuantizeOptionsT(), code, self.shape, **(grid or self.grid()))

    def softmax(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        code = schema.BuiltinOptions.SoftmaxOptions
        self.op("SOFTMAX", [self.last], options, code, self.shape, scale=1 / 256, zero_point=-128)

    def sizes(self, kernel: tuple[int, int], stride: tuple[int, int], pad: int, dilation: int) -> tuple[int, int]:
        height, width = (padding(self.shape[at], kernel[at], stride[at], dilation, pad == SAME)[0] for at in (0, 1))
        return height, width

    def content(self) -> bytes:
        """Content of the finished file."""
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        model, graph = schema.ModelT(), schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = [0], [self.last]
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for kind in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = _CODES[kind]
            code.version = {
                "CONV_2D": 3,
                "DEPTHWISE_CONV_2D": 3,
                "FULLY_CONNECTED": 5,
                "RESHAPE": 1,
                "QUANTIZE": 1,
                "HARD_SWISH": 1,
                "SQUEEZE": 1,
                "RELU_N1_TO_1": 1,
            }.get(kind, 2)
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def four_bits(content: bytes, every: int = 1) -> bytes:
    """The file with weights from -8 to 7 in every n-th convolution and dense layer; its answers are others."""
    file, constants = tflite.read(content), tflite.constants(content)
    scales = {tensor.name: np.array(tensor.scale, np.float32) for tensor in file.tensors}
    layers = [op for op in file.ops if op.kind in ("CONV_2D", "FULLY_CONNECTED")][::every]
    names = [op.inputs[1] for op in layers]
    values = {name: constants[name] >> 4 for name in names}
    return tflite.with_constants(content, values, {name: 16 * scales[name] for name in names})


def begun(seed: int, height: int, width: int, channels: int = 1, scale: float = 1 / 255, zero_point: int = 0) -> Net:
    """A net with a uint8 image of any scale and zero point as its input, which it has converted to int8."""
    from ai_edge_litert import schema_py_generated as schema

    net = Net(np.random.default_rng(seed), (height, width, channels), scale, zero_point - 128)
    net.buffers.append(schema.BufferT())  # the first one is empty, by convention
    net.tensor((1, height, width, channels), "uint8", scale, zero_point)
    net.op("QUANTIZE", [0], schema.QuantizeOptionsT(), schema.BuiltinOptions.QuantizeOptions, net.shape)
    return net


def signed(seed: int, *shape: int, zero_point: int = -5) -> Net:
    """A net with an int8 input of any shape, as the files of other converters have it."""
    from ai_edge_litert import schema_py_generated as schema

    net = Net(np.random.default_rng(seed), shape, 0.02, zero_point)
    net.buffers.append(schema.BufferT())  # the first one is empty, by convention
    net.tensor((1, *shape), "int8", net.scale, zero_point)
    return net


def ended(net: Net, classes: int = 10) -> bytes:
    """Content of the file, after a dense layer and a softmax."""
    net.reshape(math.prod(net.shape))
    net.dense(classes, NONE)
    net.softmax()
    return net.content()


def first_convolution(kernel: int, stride: int, pad: int, size: tuple[int, int] = (11, 9)) -> bytes:
    net = begun(kernel * 100 + stride * 10 + pad, *size)
    net.conv(5, (kernel, kernel), (stride, stride), pad)
    return ended(net)


def deep_convolutions() -> bytes:
    """Convolutions of 3 x 3 with 16 to 80 input channels and with and without pooling: AVX2 computes them in tiles."""
    net = begun(9, 14, 14)
    net.conv(16, (3, 3), (1, 1), VALID)
    net.largest_bias(3)
    net.conv(32, (3, 3), (1, 1), SAME)
    net.largest_bias(20)
    net.conv(80, (3, 3), (1, 1), SAME)
    net.pool("MAX_POOL_2D", (2, 2), (2, 2), VALID)
    net.conv(48, (3, 3), (1, 1), SAME)
    net.conv(33, (3, 3), (1, 1), SAME)
    return ended(net)


def first_depthwise(kernel: int, stride: int, pad: int) -> bytes:
    net = begun(kernel, 10, 11)
    net.depthwise(3, (kernel, kernel), (stride, stride), pad)
    return ended(net)


def depthwise_of_many() -> bytes:
    """Depthwise convolutions of 24 channels, with odd and even numbers of weights: AVX2 computes 16 and 8 together."""
    net = begun(4, 10, 11)
    net.conv(24, (1, 1), (1, 1), SAME)
    net.depthwise(1, (3, 3), (2, 2), SAME)
    net.depthwise(1, (2, 5), (1, 1), VALID)
    net.largest_bias(20)
    return ended(net)


def only_dense(height: int, width: int) -> bytes:
    net = begun(height, height, width)
    net.reshape(height * width)
    net.dense(7)
    return ended(net)


def float_ends() -> bytes:
    """A net with a float input, which it quantizes, and a float output."""
    from ai_edge_litert import schema_py_generated as schema

    net = signed(8, 30)
    net.tensors[0].type, net.tensors[0].quantization = 0, None
    net.quantize(scale=0.02, zero_point=-5)
    net.dense(9, NONE)
    code = schema.BuiltinOptions.DequantizeOptions
    net.op("DEQUANTIZE", [net.last], schema.DequantizeOptionsT(), code, net.shape)
    net.tensors[net.last].type, net.tensors[net.last].quantization = 0, None
    return net.content()


def spectrogram() -> bytes:
    """Depthwise-separable convolutions of a spectrogram, as in keyword spotting."""
    net = signed(1, 21, 10, 1, zero_point=83)
    net.conv(12, (10, 4), (2, 2), SAME)
    for _ in range(2):
        net.depthwise(1, (3, 3), (1, 1), SAME)
        net.conv(12, (1, 1), (1, 1), SAME)
    net.pool("AVERAGE_POOL_2D", net.shape[:2], net.shape[:2], VALID)
    return ended(net, 12)


def frames() -> bytes:
    """Depthwise-separable convolutions along the time alone, as in a streaming wake word; one is dilated."""
    net = signed(2, 30, 1, 40)
    net.depthwise(1, (3, 1), (1, 1), VALID)
    net.conv(24, (1, 1), (1, 1), VALID)
    net.depthwise(1, (5, 1), (2, 1), VALID)
    net.conv(24, (1, 1), (1, 1), VALID)
    net.depthwise(1, (3, 1), (1, 1), VALID, dilation=2)
    net.depthwise(1, (net.shape[0], 1), (1, 1), VALID)
    return ended(net, 3)


def residual() -> bytes:
    """Residual blocks of a colour picture, the second with a stride and a convolution next to it."""
    net = signed(3, 12, 12, 3, zero_point=-128)
    net.conv(8, (3, 3), (1, 1), SAME)
    before = net.last
    net.conv(8, (3, 3), (1, 1), SAME)
    net.conv(8, (3, 3), (1, 1), SAME, act=NONE)
    net.add(before)
    before, shape, grid = net.last, net.shape, (net.scale, net.zero_point)
    net.conv(16, (3, 3), (2, 2), SAME)
    net.conv(16, (3, 3), (1, 1), SAME, act=NONE)
    other, net.last, net.shape = net.last, before, shape
    net.scale, net.zero_point = grid
    net.conv(16, (1, 1), (2, 2), SAME, act=NONE)
    net.add(other)
    net.pool("AVERAGE_POOL_2D", net.shape[:2], net.shape[:2], VALID)
    return ended(net)


def autoencoder() -> bytes:
    """Dense layers from a vector to a vector of its size."""
    net = signed(4, 70, zero_point=89)
    for units in (24, 24, 8, 24):
        net.dense(units)
    net.dense(70, NONE)
    return net.content()


def mobile() -> bytes:
    """Depthwise-separable convolutions of a colour picture; the first layers have strides."""
    net = signed(5, 16, 16, 3, zero_point=-128)
    net.conv(8, (3, 3), (2, 2), SAME)
    net.depthwise(1, (3, 3), (1, 1), SAME)
    net.conv(16, (1, 1), (1, 1), SAME)
    net.depthwise(1, (3, 3), (2, 2), SAME)
    net.conv(32, (1, 1), (1, 1), SAME)
    net.pool("AVERAGE_POOL_2D", net.shape[:2], net.shape[:2], VALID)
    return ended(net, 2)


# Nets with an int8 input and the op patterns of MLPerf Tiny's reference models, by the name of the pattern.
PATTERNS: dict[str, Callable[[], bytes]] = {
    "spectrogram": spectrogram, "frames": frames, "residual": residual, "autoencoder": autoencoder, "mobile": mobile,
}  # fmt: skip


def pointwise(name: str, dense: bool = False) -> bytes:
    """A net of one op that reads every value from -128 to 127 of an image of 256 pixels, with the zero point -27.

    Args:
        name: a key of `POINTWISE`. dense: whether a dense layer follows, which backends with vectors compute.
    """
    net = begun(7, 16, 16)
    net.pair("SUB", net.last, net.tensor((1,), "int8", 1 / 255, 0, np.int8([101])), scale=1 / 255, zero_point=-27)
    net.reshape(4, 8, 8)
    POINTWISE[name](net)
    if dense:
        return ended(net)
    net.reshape(math.prod(net.shape))
    return net.content()


def _two(op: Callable[[Net, int], None]) -> Callable[[Net], None]:
    """A builder of an op with two operands: tensors of one shape and scale that hold different numbers."""

    def build(net: Net) -> None:
        first, grid = net.last, {"scale": net.scale, "zero_point": net.zero_point}
        net.leaky_relu(0.4, **grid)
        op(net, first)

    return build


def _with_its_mean(kind: str, keep: bool) -> Callable[[Net], None]:
    """A builder of an op with a computed tensor that is repeated, as in squeeze and excitation."""

    def build(net: Net) -> None:
        first, shape = net.last, net.shape
        net.mean((1, 2), keep=keep)
        second, net.shape = net.last, shape
        net.pair(kind, first, second)

    return build


def _factor(net: Net) -> np.float32:
    """A scale or slope whose product with the net's scale is larger in float32 than it is exactly."""
    scale = np.float32(net.scale)
    return next(
        item for item in np.float32(np.linspace(0.2, 0.9, 99)) if float(scale) * float(item) < float(scale * item)
    )


def _halves_by_mul(net: Net) -> None:
    """The multiplier is 0.5, and odd products are ties, only if it is computed in float32."""
    factor = _factor(net)
    scale = float(2 * np.float32(net.scale) * factor)
    net.pair("MUL", net.last, net.constant((8,), scale=float(factor), zero_point=3), scale=scale, zero_point=0)


def _halves_by_leaky_relu(net: Net) -> None:
    factor = _factor(net)
    net.leaky_relu(float(factor), scale=float(2 * np.float32(net.scale) * factor), zero_point=0)


def _in_five_dimensions(net: Net) -> None:
    net.reshape(2, 2, 8, 8)
    net.leaky_relu(0.3)


def _sigmoid_of_a_wide_range(net: Net) -> None:
    """The exponential of -128 steps of 0.7 is infinite in float32."""
    net.pair("MUL", net.last, net.tensor((1,), "int8", 1.5, 0, np.int8([120])), scale=0.7, zero_point=0)
    net.logistic()


def _through_uint8(net: Net) -> None:
    net.quantize(scale=0.006, zero_point=120)
    net.tensors[net.last].type = 3
    net.quantize()


def _tanh_of_a_wide_range(net: Net) -> None:
    net.pair("MUL", net.last, net.tensor((1,), "int8", 1.5, 0, np.int8([120])), scale=0.07, zero_point=5)
    net.unary("TANH")


def _hard_swish_of_a_wide_range(net: Net) -> None:
    net.pair("MUL", net.last, net.tensor((1,), "int8", 1.5, 0, np.int8([120])), scale=0.09, zero_point=-7)
    net.unary("HARD_SWISH", scale=0.05, zero_point=-100)


def _hard_swish_of_a_narrow_range(net: Net) -> None:
    net.unary("HARD_SWISH", scale=net.scale / 1.5, zero_point=-90)


def _padded_rows(net: Net) -> None:
    net.reshape(16, 16)
    net.pad((2, 1), (0, 3))


def _transposed_in_five_dimensions(net: Net) -> None:
    net.reshape(2, 4, 8, 4)
    net.transpose(4, 2, 1, 3)


def _squeezed(net: Net) -> None:
    net.reshape(1, 64, 1, 4)
    net.leaky_relu(0.3)
    net.squeeze()
    net.leaky_relu(0.2)


# Builders of one op without weights.
POINTWISE: dict[str, Callable[[Net], None]] = {
    "MEAN over height and width": lambda net: net.mean((1, 2), keep=False),
    "MEAN that keeps its dimensions": lambda net: net.mean((1, 2), keep=True),
    "MEAN with axes from the end": lambda net: net.mean((-2, -3), keep=False),
    "MEAN over channels": lambda net: net.mean((3,), keep=True),
    "MEAN on one grid": lambda net: net.mean((1, 2), False, scale=net.scale, zero_point=net.zero_point),
    "MEAN on a finer grid": lambda net: net.mean((1, 2), False, scale=net.scale / 3, zero_point=-20),
    "MUL by a number": lambda net: net.pair("MUL", net.last, net.constant(())),
    "MUL by a number first": lambda net: net.pair("MUL", net.constant((1,)), net.last),
    "MUL by a number a channel": lambda net: net.pair("MUL", net.last, net.constant((1, 1, 1, 8)), RELU6),
    "MUL by an image": lambda net: net.pair("MUL", net.last, net.constant((8, 8))),
    "MUL of two": _two(lambda net, other: net.pair("MUL", net.last, other)),
    "MUL by its mean": _with_its_mean("MUL", keep=True),
    "MUL by its mean of fewer dimensions": _with_its_mean("MUL", keep=False),
    "SUB of its mean of fewer dimensions": _with_its_mean("SUB", keep=False),
    "ADD of a number": lambda net: net.pair("ADD", net.last, net.constant((1,)), RELU),
    "ADD of a number a channel": lambda net: net.pair("ADD", net.constant((8,)), net.last),
    "SUB of a number": lambda net: net.pair("SUB", net.last, net.constant(())),
    "SUB from a number a channel": lambda net: net.pair("SUB", net.constant((8,)), net.last, RELU6),
    "SUB of two": _two(lambda net, other: net.pair("SUB", net.last, other)),
    "CONCATENATION of channels": _two(lambda net, other: net.concatenate([other], -1)),
    "CONCATENATION of rows": _two(lambda net, other: net.concatenate([other, net.last], 1)),
    "CONCATENATION of columns": _two(lambda net, other: net.concatenate([other], 2)),
    "LEAKY_RELU": lambda net: net.leaky_relu(0.3),
    "LEAKY_RELU that amplifies": lambda net: net.leaky_relu(1.7, scale=net.scale / 2, zero_point=-3),
    "LOGISTIC": lambda net: net.logistic(),
    "MUL by a half in float32": _halves_by_mul,
    "LEAKY_RELU by a half in float32": _halves_by_leaky_relu,
    "QUANTIZE to another grid": lambda net: net.quantize(),
    "QUANTIZE to uint8 and back": _through_uint8,
    "LEAKY_RELU in five dimensions": _in_five_dimensions,
    "LOGISTIC of a wide range": _sigmoid_of_a_wide_range,
    "RELU": lambda net: net.unary("RELU"),
    "RELU on one grid": lambda net: net.unary("RELU", scale=net.scale, zero_point=net.zero_point),
    "RELU6": lambda net: net.unary("RELU6", scale=0.05, zero_point=-20),
    "RELU6 on a finer grid": lambda net: net.unary("RELU6", scale=net.scale / 3, zero_point=-128),
    "RELU_N1_TO_1": lambda net: net.unary("RELU_N1_TO_1", scale=0.009, zero_point=3),
    "TANH": lambda net: net.unary("TANH"),
    "TANH of a wide range": _tanh_of_a_wide_range,
    "HARD_SWISH": lambda net: net.unary("HARD_SWISH"),
    "HARD_SWISH of a wide range": _hard_swish_of_a_wide_range,
    "HARD_SWISH of a narrow range": _hard_swish_of_a_narrow_range,
    "PAD": lambda net: net.pad((1, 2), (3, 0), (0, 1)),
    "PAD of three dimensions": _padded_rows,
    "TRANSPOSE": lambda net: net.transpose(3, 1, 2),
    "TRANSPOSE of five dimensions": _transposed_in_five_dimensions,
    "RESIZE_NEAREST_NEIGHBOR": lambda net: net.resize(8, 16),
    "RESIZE_NEAREST_NEIGHBOR by corners": lambda net: net.resize(7, 13, corners=True),
    "RESIZE_NEAREST_NEIGHBOR by centres": lambda net: net.resize(7, 13, centres=True),
    "RESIZE_NEAREST_NEIGHBOR to less": lambda net: net.resize(3, 5),
    "SQUEEZE": _squeezed,
}


@st.composite
def random_nets(draw: st.DrawFn) -> bytes:
    """Small nets of every op that has a kernel, in any order that shapes allow."""
    size = draw(st.integers(1, 17)), draw(st.integers(1, 17))
    scale, zero_point = draw(st.sampled_from([(1 / 255, 0), (1 / 255, 0), (0.01, 10)]))
    net = begun(draw(st.integers(0, 2**31)), *size, scale=scale, zero_point=zero_point)
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["conv", "conv", "depthwise", "pool", "add", "softmax", "dense", "pointwise"]))
        pad = draw(st.sampled_from([SAME, VALID]))
        limit = net.shape[:2] if pad == VALID else (5, 5)
        kernel = draw(st.integers(1, min(5, limit[0]))), draw(st.integers(1, min(5, limit[1])))
        stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        dilation = draw(st.sampled_from([1, 2])) if pad == SAME and stride == (1, 1) else 1
        if kind == "conv":
            groups = draw(st.sampled_from([1, *[n for n in (2, 3) if net.shape[2] % n == 0]]))
            channels = groups * draw(st.integers(1, 37 // groups))
            net.conv(channels, kernel, stride, pad, dilation, draw(st.sampled_from([NONE, RELU, RELU6])), groups)
        elif kind == "depthwise":
            net.depthwise(draw(st.integers(1, 3)), kernel, stride, pad, dilation)
        elif kind == "pool":
            kernel = draw(st.sampled_from([kernel, (2, 2)])) if min(net.shape[:2]) > 1 else kernel
            stride = kernel if kernel == (2, 2) else stride
            net.pool(draw(st.sampled_from(["MAX_POOL_2D", "AVERAGE_POOL_2D"])), kernel, stride, pad)
        elif kind == "add":
            before = net.last
            net.conv(net.shape[2], (1, 1), (1, 1), SAME)
            net.add(before)
        elif kind == "softmax":
            net.softmax()
        elif kind == "pointwise":
            _random_pointwise(net, draw)
        else:
            net.dense(draw(st.integers(1, 20)))
    content = ended(net, draw(st.integers(2, 20)))
    return four_bits(content, draw(st.integers(1, 2))) if draw(st.booleans()) else content


def _random_pointwise(net: Net, draw: st.DrawFn) -> None:
    """Append an op without weights whose output has three dimensions."""
    first = net.last
    kind = draw(st.sampled_from(["MUL", "ADD", "SUB", "mean", "concatenate", "rearrange", "logistic", "table"]))
    if kind in ("MUL", "ADD", "SUB"):
        shape = draw(st.sampled_from([(), (net.shape[2],), (1, 1, *net.shape[1:]), net.shape]))
        operands = draw(st.permutations([first, net.constant(shape)]))
        net.pair(kind, *operands, draw(st.sampled_from([NONE, RELU, RELU6])))
    elif kind == "mean":
        net.mean(draw(st.sampled_from([(1,), (2,), (3,), (1, 2), (2, 3), (1, 2, 3)])), keep=True)
    elif kind == "concatenate":
        net.concatenate([first], draw(st.sampled_from([1, 2, 3, -1])))
    elif kind == "rearrange":
        _random_rearrangement(net, draw)
    elif kind == "logistic":
        net.logistic()
    else:
        unary = draw(st.sampled_from(["leaky", "quantize", "RELU", "RELU6", "HARD_SWISH"]))
        if unary == "leaky":
            net.leaky_relu(draw(st.sampled_from([0.0, 0.01, 0.3, 1.5])))
        elif unary == "quantize":
            net.quantize()
        else:
            net.unary(unary)


def _random_rearrangement(net: Net, draw: st.DrawFn) -> None:
    """Append PAD, TRANSPOSE or RESIZE_NEAREST_NEIGHBOR."""
    kind = draw(st.sampled_from(["pad", "transpose", "resize"]))
    if kind == "pad":
        net.pad(*(draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in range(3)))
    elif kind == "transpose":
        net.transpose(*draw(st.permutations([1, 2, 3])))
    else:
        net.resize(draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.booleans()))
