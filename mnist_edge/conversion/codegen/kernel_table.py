"""Kernels of generated C: which files a plan needs, for each kind of step and each backend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """A file in ``kernels/``: what it does, in a few words, and the other files that it needs."""

    title: str
    needs: tuple[str, ...] = ()


# In the order of the generated file, where C code follows what it uses. `backends` fills the placeholders of files that
# end in ``.in``.
KERNELS: dict[str, Kernel] = {
    "backends.c": Kernel("numbers of the backends"),
    "detect_x86.c": Kernel("whether this is x86-64", ("backends.c",)),
    "detect_arm64.c": Kernel("whether this is little-endian 64-bit Arm", ("backends.c",)),
    "detect_cortex_m.c": Kernel("whether this is a Cortex-M with DSP instructions", ("backends.c",)),
    "detect_wasm.c": Kernel("whether this is WebAssembly with vectors", ("backends.c",)),
    "placement.c": Kernel("placement and alignment of weights"),
    "clamp.c": Kernel("limits of a number"),
    "fixed_point.c": Kernel("products and quotients, rounded as in LiteRT"),
    "scale.c": Kernel("multiplication by a real number", ("fixed_point.c",)),
    "requantize.c": Kernel("from 32-bit sums to 8-bit outputs", ("clamp.c", "scale.c")),
    "conv_dense_layer.c": Kernel("type of convolutions and dense layers", ("placement.c", "requantize.c")),
    "sharing.c.in": Kernel("convolutions that several nets have in common"),
    "conv_dense.c": Kernel("convolutions and dense layers in plain C", ("conv_dense_layer.c", "sharing.c.in")),
    "conv_dense_vectors.c.in": Kernel("what all vector backends share", ("conv_dense.c",)),
    "sse2.c.in": Kernel("convolutions and dense layers with SSE2", ("detect_x86.c", "conv_dense_vectors.c.in")),
    "avx2.c.in": Kernel("convolutions and dense layers with AVX2", ("detect_x86.c", "conv_dense_vectors.c.in")),
    "winograd_avx2.c": Kernel("convolutions of 3 x 3 with AVX2 and fewer products", ("avx2.c.in",)),
    "avx512_vnni.c.in": Kernel("the same with AVX512-VNNI", ("detect_x86.c", "conv_dense_vectors.c.in")),
    "avx_vnni.c.in": Kernel("the same with AVX-VNNI", ("avx2.c.in",)),
    "arm64_vectors.c": Kernel("what both kinds of NEON share", ("detect_arm64.c", "conv_dense_vectors.c.in")),
    "neon.c.in": Kernel("convolutions and dense layers with NEON", ("arm64_vectors.c",)),
    "neon_dot.c.in": Kernel("the same with NEON's dot product", ("arm64_vectors.c",)),
    "wasm_simd128.c.in": Kernel(
        "convolutions and dense layers with WebAssembly's SIMD128", ("detect_wasm.c", "conv_dense.c")
    ),
    "winograd_wasm.c": Kernel("convolutions of 3 x 3 with SIMD128 and fewer products", ("wasm_simd128.c.in",)),
    "cortex_m_sums.c": Kernel("sums on Cortex-M before the first product", ("detect_cortex_m.c", "conv_dense.c")),
    "dsp.c": Kernel("sums with the DSP instructions of Cortex-M", ("cortex_m_sums.c",)),
    "helium.c": Kernel("sums with Helium, the vector instructions of Cortex-M", ("cortex_m_sums.c",)),
    "cortex_m.c": Kernel("convolutions and dense layers on Cortex-M", ("dsp.c", "helium.c")),
    "dispatch.c": Kernel("one function for each layer, which calls the kernel of a backend", ("conv_dense.c",)),
    "dispatch_x86.c": Kernel(
        "dispatch and choice of the backend on x86-64",
        (
            "sse2.c.in",
            "winograd_avx2.c",
            "avx512_vnni.c.in",
            "avx_vnni.c.in",
            "dispatch.c",
            "choose_backend.c",
        ),
    ),
    "dispatch_arm64.c": Kernel(
        "dispatch and choice of the backend on 64-bit Arm",
        ("neon.c.in", "neon_dot.c.in", "dispatch.c", "choose_backend.c"),
    ),
    "dispatch_cortex_m.c": Kernel("dispatch on Cortex-M", ("cortex_m.c", "dispatch.c", "choose_backend.c")),
    "dispatch_wasm.c": Kernel("dispatch in WebAssembly", ("winograd_wasm.c", "dispatch.c", "choose_backend.c")),
    "choose_backend.c": Kernel("dispatch and backend on other processors", ("backends.c", "dispatch.c")),
    "depthwise.c": Kernel("depthwise convolutions", ("placement.c", "requantize.c")),
    "depthwise_avx2.c": Kernel("depthwise convolutions with AVX2", ("depthwise.c", "dispatch_x86.c")),
    "pool.c": Kernel("maxima and means of windows", ("clamp.c",)),
    "add.c": Kernel("sums and differences of two tensors", ("clamp.c", "fixed_point.c")),
    "multiply.c": Kernel("products of two tensors", ("clamp.c", "scale.c")),
    "mean.c": Kernel("means over neighbouring dimensions", ("clamp.c", "scale.c")),
    "copy_rows.c": Kernel("padding and concatenation"),
    "rearrange.c": Kernel("copies with other distances between the values"),
    "resize.c": Kernel("images of another size, from the nearest pixels"),
    "store.c": Kernel("int8 inputs, as they are stored"),
    "lookup.c": Kernel("functions of one input, by table"),
    "softmax.c": Kernel("probabilities from logits", ("clamp.c", "fixed_point.c")),
}
# What ``export --backend`` takes: the kernels of convolutions and dense layers. Plain C is always among them, for
# processors without the vector instructions. The format wasm takes ``wasm``.
CONV_DENSE: dict[str, tuple[str, ...]] = {
    "all": ("dispatch_x86.c", "dispatch_arm64.c", "dispatch_cortex_m.c"),
    "x86": ("dispatch_x86.c",),
    "arm": ("dispatch_arm64.c", "dispatch_cortex_m.c"),
    "wasm": ("dispatch_wasm.c",),
    "c99": ("conv_dense.c",),
}
# The kernel of each other kind of step: plain C, next to which `kernels_for` puts AVX2 for depthwise convolutions.
PLAIN: dict[str, str] = {
    "ADD": "add.c",
    "AVERAGE_POOL_2D": "pool.c",
    "CONCATENATION": "copy_rows.c",
    "DEPTHWISE_CONV_2D": "depthwise.c",
    "HARD_SWISH": "lookup.c",
    "LEAKY_RELU": "lookup.c",
    "LOGISTIC": "lookup.c",
    "MAX_POOL_2D": "pool.c",
    "MEAN": "mean.c",
    "MUL": "multiply.c",
    "PAD": "rearrange.c",
    "PIXELS": "lookup.c",
    "QUANTIZE": "lookup.c",
    "RELU": "lookup.c",
    "RELU6": "lookup.c",
    "RELU_N1_TO_1": "lookup.c",
    "RESIZE_NEAREST_NEIGHBOR": "resize.c",
    "SIGNED": "store.c",
    "SOFTMAX": "softmax.c",
    "SUB": "add.c",
    "TANH": "lookup.c",
    "TRANSPOSE": "rearrange.c",
}
CONV_DENSE_KINDS = ("CONV_2D", "FULLY_CONNECTED")


def kernels_for(kinds: Iterable[str], pads: bool, backend: str) -> list[str]:
    """Files of kernels, in the order in which they are to be compiled.

    Args:
        kinds: of the steps of a plan. pads: whether a step copies its input with a border. backend: see `CONV_DENSE`.
    """
    wanted: set[str] = {"copy_rows.c"} if pads else set()
    for kind in kinds:
        wanted.update(CONV_DENSE[backend] if kind in CONV_DENSE_KINDS else (PLAIN[kind],))
    if wanted >= {"depthwise.c", "dispatch_x86.c"}:
        wanted.add("depthwise_avx2.c")
    while missing := {need for name in wanted for need in KERNELS[name].needs} - wanted:
        wanted |= missing
    return [name for name in KERNELS if name in wanted]
