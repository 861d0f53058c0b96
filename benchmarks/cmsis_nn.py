"""A shipped int8 net by the kernels of CMSIS-NN, for a comparison with generated C.

CMSIS-NN is Arm's library for Cortex-M. None of its code is in this repository: it is compiled from a checkout. The
program that calls its functions is written here, with the weights and the quantization of the TFLite file.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mnist_edge.formats import OpInfo, TensorInfo, tflite
from mnist_edge.int8.fixed_point import DIFFERENCE_BITS, multiplier, softmax_table
from mnist_edge.int8.graph import padding
from mnist_edge.int8.program import bounds, multipliers
from mnist_edge.toolchains import cross_gcc
from mnist_edge.toolchains.boards import Board

# Functions that the shipped nets need, and those that they call. -Ofast is what CMSIS-NN's own build compiles with.
SOURCES = (
    "ConvolutionFunctions/arm_convolve*_s8*.c",
    "ConvolutionFunctions/arm_nn_mat_mult*_s8*.c",
    "FullyConnectedFunctions/arm_fully_connected*_s8*.c",
    "FullyConnectedFunctions/arm_vector_sum_s8.c",
    "PoolingFunctions/arm_max_pool_s8.c",
    "SoftmaxFunctions/arm_*softmax*_s8.c",
    "NNSupportFunctions/*_s8*.c",
    "NNSupportFunctions/arm_q7_to_q15_with_offset.c",
    "NNSupportFunctions/arm_nntables.c",
)
FLAGS = ("-Ofast", "-ffunction-sections", "-fdata-sections")
BUFFER_BYTES = 16 * 1024  # for CMSIS-NN's own use; the program checks that it suffices
PREAMBLE = """
#include "net.h"
#include "arm_nnfunctions.h"

#include <string.h>

/* Tensors are aligned as in TensorFlow Lite Micro. Activations are in one buffer and the other in turn. */
#define ALIGNED __attribute__((aligned(16)))
static int8_t activations[2][ACTIVATION_BYTES] ALIGNED;
static int8_t buffer[BUFFER_BYTES] ALIGNED;

/* A layer that fails ends the program. */
static void check(arm_cmsis_nn_status status) {
    if (status != ARM_CMSIS_NN_SUCCESS)
        __builtin_trap();
}

static cmsis_nn_context context(int32_t size) {
    const cmsis_nn_context found = {buffer, size};
    if (size > BUFFER_BYTES)
        __builtin_trap();
    return found;
}

/* From 0..255 to -128..127, four at once. CMSIS-NN has no function for it. */
static void quantize(const uint8_t *from, int8_t *to, int32_t words) {
    for (int32_t i = 0; i < words; i++) {
        uint32_t word;
        memcpy(&word, from + 4 * i, sizeof word);
        word ^= UINT32_C(0x80808080);
        memcpy(to + 4 * i, &word, sizeof word);
    }
}
"""


class NoRepositoryError(Exception):
    """A folder is no repository of CMSIS-NN."""


@dataclass(frozen=True)
class Sources:
    """CMSIS-NN: the folder with its files, and the commit that they are of."""

    folder: Path
    commit: str


@dataclass(frozen=True)
class Net:
    """A TFLite file while its program is written: tensors and constants by name."""

    tensors: dict[str, TensorInfo]
    constants: dict[str, NDArray[Any]]

    def source(self, op: OpInfo) -> TensorInfo:
        """Tensor of an op's input."""
        return self.tensors[op.inputs[0]]

    def target(self, op: OpInfo) -> TensorInfo:
        """Tensor of an op's output."""
        return self.tensors[op.outputs[0]]


def sources(repository: Path, folder: Path) -> Sources:
    """The files of a repository's commit, in a folder.

    Args:
        repository: a checkout of CMSIS-NN, or its bare git directory. folder: for the files.

    Raises:
        NoRepositoryError: it is neither.
    """
    git = ["git", "-C", str(repository)]
    try:
        found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        archive = subprocess.run([*git, "archive", "HEAD", "Include", "Source"], capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        raise NoRepositoryError(f"{repository} is no repository of CMSIS-NN.") from error
    folder.mkdir(exist_ok=True)
    subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
    return Sources(folder, found.stdout.strip())


def library(board: Board, cmsis: Sources, folder: Path) -> list[Path]:
    """Object files of CMSIS-NN for a board, in a folder; the linker leaves out what no layer needs."""
    folder.mkdir(exist_ok=True)
    files = sorted({path for pattern in SOURCES for path in (cmsis.folder / "Source").glob(pattern)})
    command = [board.compiler, *board.flags, *FLAGS, "-I", cmsis.folder / "Include", "-c", *files]
    subprocess.run(command, cwd=folder, check=True)
    return sorted(folder.glob("*.o"))


def program(board: Board, cmsis: Sources, content: bytes, folder: Path) -> Path:
    """Object file that calls CMSIS-NN for each layer of a TFLite file; writes the net.h of tools/mcu/main.c."""
    text, header = source(content)
    (folder / "net.h").write_text(header)
    (folder / "net.c").write_text(text)
    return cross_gcc.compile_object(board, folder / "net.c", (*FLAGS, "-I", str(cmsis.folder / "Include")))


def source(content: bytes) -> tuple[str, str]:
    """The C program for an int8 TFLite file, and its header.

    Raises:
        KeyError: it has an op that the shipped nets do not have.
    """
    file = tflite.read(content)
    net = Net({tensor.name: tensor for tensor in file.tensors}, tflite.constants(content))
    before, start, calls = [], [], []
    at = 0
    for number, op in enumerate(file.ops):
        if op.kind == "RESHAPE":
            continue
        ends = "input" if number == 0 else f"activations[{at}]", f"activations[{1 - at}]"
        if number == len(file.ops) - 1:
            ends = ends[0], "output"
        layer = _LAYERS[op.kind](net, op, number, ends)
        before.append(layer.constants)
        start.append(layer.start)
        calls.append(layer.call)
        at = 1 - at
    sizes = [-(-math.prod(tensor.shape[1:]) // 16) * 16 for tensor in file.tensors if not tensor.constant]
    ends_of = {"INPUT": file.inputs[0], "OUTPUT": file.outputs[0]}
    header = "#include <stdint.h>\n" + "".join(
        f"#define {name}_BYTES {math.prod(tensor.shape[1:])}\n" for name, tensor in ends_of.items()
    )
    header += "#define SCRATCH_BYTES 1\n#define RUN run\nvoid run(const void *in, void *out, uint8_t *scratch);\n"
    sizes_text = f"#define ACTIVATION_BYTES {max(sizes)}\n#define BUFFER_BYTES {BUFFER_BYTES}\n"
    begun = "    static int started;\n    if (!started) {\n" + "".join(start) + "        started = 1;\n    }\n"
    ends_text = "    const uint8_t *const input = in;\n    int8_t *const output = out;\n    (void)scratch;\n"
    body = f"\nvoid run(const void *in, void *out, uint8_t *scratch) {{\n{ends_text}{begun}{''.join(calls)}}}\n"
    return sizes_text + PREAMBLE + "".join(before) + body, header


@dataclass(frozen=True)
class Layer:
    """C text of a layer: constants, statements for the first image, and statements for each image."""

    constants: str
    start: str
    call: str


def _quantize(net: Net, op: OpInfo, _: int, ends: tuple[str, str]) -> Layer:
    source, target = net.source(op), net.target(op)
    words, rest = divmod(math.prod(source.shape[1:]), 4)
    assert (source.scale, source.zero_point, target.zero_point, rest) == (target.scale, (0,), (-128,), 0)
    return Layer("", "", f"    quantize({ends[0]}, {ends[1]}, {words});\n")


def _weighted(net: Net, op: OpInfo, number: int) -> str:
    """Constants of a convolution or a fully connected layer: weights, biases, and the multipliers of each channel."""
    source, weights, target = net.source(op), net.tensors[op.inputs[1]], net.target(op)
    m, shift = multipliers(source, weights, target)
    return (
        _array(f"weights_{number}", "const int8_t", net.constants[op.inputs[1]])
        + _array(f"bias_{number}", "const int32_t", net.constants[op.inputs[2]])
        + _array(f"multiplier_{number}", "const int32_t", m)
        + _array(f"shift_{number}", "const int32_t", shift)
    )


def _conv(net: Net, op: OpInfo, number: int, ends: tuple[str, str]) -> Layer:
    source, weights, target = net.source(op), net.tensors[op.inputs[1]], net.target(op)
    strides, dilations = op.attributes["strides"], op.attributes["dilations"]
    same = bool(op.attributes["same_padding"][0])
    top, left = (
        padding(source.shape[1 + at], weights.shape[1 + at], strides[at], dilations[at], same)[1] for at in (0, 1)
    )
    low, high = bounds(op, target)
    dims = "".join(
        f"static const cmsis_nn_dims {name}_{number} = {_values(values)};\n"
        for name, values in (
            ("in", (1, *source.shape[1:])), ("kernel", weights.shape),
            ("depth", (1, 1, 1, target.shape[3])), ("out", (1, *target.shape[1:])),
        )
    )  # fmt: skip
    parameters = (
        f"static const cmsis_nn_conv_params params_{number} = {{{-source.zero_point[0]}, {target.zero_point[0]}, "
        f"{_values(strides[::-1])}, {_values((left, top))}, {_values(dilations[::-1])}, {{{low}, {high}}}}};\n"
    )
    size = f"arm_convolve_wrapper_s8_get_buffer_size(&params_{number}, &in_{number}, &kernel_{number}, &out_{number})"
    call = f"""    {{
        const cmsis_nn_per_channel_quant_params scale = {{(int32_t *)multiplier_{number}, (int32_t *)shift_{number}}};
        const cmsis_nn_context space = context({size});
        check(arm_convolve_wrapper_s8(&space, &params_{number}, &scale, &in_{number}, {ends[0]}, &kernel_{number},
                                      weights_{number}, &depth_{number}, bias_{number}, &out_{number}, {ends[1]}));
    }}
"""
    return Layer(_weighted(net, op, number) + dims + parameters, "", call)


def _dense(net: Net, op: OpInfo, number: int, ends: tuple[str, str]) -> Layer:
    """A fully connected layer; its sums of weights, which Helium needs, are made once, as in TensorFlow Lite Micro."""
    source, weights, target = net.source(op), net.tensors[op.inputs[1]], net.target(op)
    rows, columns = weights.shape
    low, high = bounds(op, target)
    dims = "".join(
        f"static const cmsis_nn_dims {name}_{number} = {_values(values)};\n"
        for name, values in (
            ("in", (1, 1, 1, columns)), ("kernel", (columns, 1, 1, rows)), ("depth", (1, 1, 1, rows)),
            ("out", (1, 1, 1, rows)),
        )
    )  # fmt: skip
    parameters = (
        f"static const cmsis_nn_fc_params params_{number} = "
        f"{{{-source.zero_point[0]}, 0, {target.zero_point[0]}, {{{low}, {high}}}}};\n"
        f"static int32_t sums_{number}[{rows}];\n"
    )
    start = f"""        if (arm_fully_connected_s8_get_buffer_size(&kernel_{number}) > 0)
            check(arm_vector_sum_s8(sums_{number}, {columns}, {rows}, weights_{number}, {-source.zero_point[0]}, 0,
                                    bias_{number}));
"""
    call = f"""    {{
        const cmsis_nn_quant_params by_channel = {{(int32_t *)multiplier_{number}, (int32_t *)shift_{number}, 1}};
        const cmsis_nn_context space = {{sums_{number}, sizeof sums_{number}}};
        check(arm_fully_connected_wrapper_s8(&space, &params_{number}, &by_channel, &in_{number}, {ends[0]},
                                             &kernel_{number}, weights_{number}, &depth_{number}, bias_{number},
                                             &out_{number}, {ends[1]}));
    }}
"""
    return Layer(_weighted(net, op, number) + dims + parameters, start, call)


def _max_pool(net: Net, op: OpInfo, number: int, ends: tuple[str, str]) -> Layer:
    source, target, kernel = net.source(op), net.target(op), op.attributes["kernel"]
    strides, same = op.attributes["strides"], bool(op.attributes["same_padding"][0])
    top, left = (padding(source.shape[1 + at], kernel[at], strides[at], 1, same)[1] for at in (0, 1))
    low, high = bounds(op, target)
    dims = "".join(
        f"static const cmsis_nn_dims {name}_{number} = {_values(values)};\n"
        for name, values in (
            ("in", (1, *source.shape[1:])), ("kernel", (1, *kernel, 1)), ("out", (1, *target.shape[1:])),
        )
    )  # fmt: skip
    parameters = (
        f"static const cmsis_nn_pool_params params_{number} = "
        f"{{{_values(strides[::-1])}, {_values((left, top))}, {{{low}, {high}}}}};\n"
    )
    call = f"""    {{
        const cmsis_nn_context space = context(0);
        check(arm_max_pool_s8(&space, &params_{number}, &in_{number}, {ends[0]}, &kernel_{number}, &out_{number},
                              {ends[1]}));
    }}
"""
    return Layer(dims + parameters, "", call)


def _softmax(net: Net, op: OpInfo, _: int, ends: tuple[str, str]) -> Layer:
    source = net.source(op)
    m, shift = multiplier(source.scale[0] * (1 << (31 - DIFFERENCE_BITS)))
    _, counted = softmax_table(source.scale[0])
    size = math.prod(source.shape[1:])
    return Layer("", "", f"    arm_softmax_s8({ends[0]}, 1, {size}, {m}, {shift}, {1 - counted}, {ends[1]});\n")


def _array(name: str, kind: str, values: NDArray[Any]) -> str:
    return f"static {kind} {name}[] ALIGNED = {_values(values.ravel().tolist())};\n"


def _values(values: Iterable[int]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


_LAYERS: dict[str, Callable[[Net, OpInfo, int, tuple[str, str]], Layer]] = {
    "QUANTIZE": _quantize, "CONV_2D": _conv, "FULLY_CONNECTED": _dense, "MAX_POOL_2D": _max_pool, "SOFTMAX": _softmax,
}  # fmt: skip
