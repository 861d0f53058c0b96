"""Text of the kernels of generated C: the files in ``kernels/``, and their instances for each kind of vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.conversion.codegen.kernel_table import FOUR_BITS, KERNELS
from mnist_edge.store.manifest import sha256_of

FOLDER = Path(__file__).parent / "kernels"
# Arguments of a call of a microkernel, before the channel and the output, by the template of its file.
_ARGUMENTS = {
    "conv_dense": "layer, first, at, input, weights, n",
    "arm64": "layer, inputs, weights, n, sums",
    "wasm": "layer, inputs, weights, n",
}
# Largest number of steps (4-byte input groups) that a kernel lists at once: AVX512-VNNI may write beyond the last one,
# and NEON clears the one behind it.
MOST_STEPS_AT_ONCE = 16
# Parts of kernels that only code with weights of 4 bits has, and what other code has instead.
_CHOICE = re.compile(
    r"^#ifdef EDGE_FOUR_BITS\n(.*?)(?:^#else\n(.*?))?^#endif /\* EDGE_FOUR_BITS \*/\n", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Backend:
    """Kernels with vectors of ``vector_bytes`` weights.

    ``four`` and ``one`` are the numbers of vectors whose sums are held in registers, for four pixels and for one, in
    the order in which they are tried. The last of either must divide 16 channels, to which weights are padded.
    ``sums`` is how many sums the last of ``one`` has for each channel: with few channels, a product would wait for the
    sum of the one before it. ``has_one`` tells whether the backend's file has the microkernels for one pixel itself.
    The files of the microkernel and of the loop that calls it begin with ``template``.
    """

    name: str
    vector_bytes: int
    four: tuple[int, ...]
    one: tuple[int, ...]
    sums: int = 1
    has_one: bool = False
    template: str = "conv_dense"


BACKENDS: dict[str, Backend] = {
    "sse2.c.in": Backend("sse2", 16, (2,), (8, 4)),
    "avx2.c.in": Backend("avx2", 32, (2,), (8, 2), has_one=True),
    "avx512_vnni.c.in": Backend("avx512", 64, (4, 2, 1), (8, 4, 1), sums=4),
    "avx_vnni.c.in": Backend("avxvnni", 32, (2,), (8, 2), sums=2),
    "neon.c.in": Backend("neon", 16, (2,), (8, 4), template="arm64"),
    "neon_dot.c.in": Backend("neon_dot", 16, (4,), (16, 4), template="arm64"),
    "wasm_simd128.c.in": Backend("simd128", 16, (1,), (4,), template="wasm"),
}


def text(files: Sequence[str], steps: int) -> str:
    """C code of kernels.

    Args:
        files: keys of `KERNELS`. steps: largest number of 4-byte input groups in a sum of any layer.
    """
    parts = []
    for name in files:
        code = (FOLDER / name).read_text()
        if name in BACKENDS:
            code = _filled(code, {"MICROKERNELS": _microkernels(BACKENDS[name]), "STEPS": steps + 1})
        elif name == "sharing.c.in":
            # The buffers of vector kernels depend on the net, so that nets cannot have these kernels in common.
            has_vectors = {"dispatch_x86.c", "dispatch_arm64.c"} & set(files)
            elsewhere = " && !defined(__x86_64__) && !defined(__aarch64__)" if has_vectors else ""
            code = _filled(code, {"HASH": _hash_of_shared(files), "ELSEWHERE": elsewhere})
        elif name == "conv_dense_vectors.c.in":
            code = _filled(code, {"STEPS": steps + MOST_STEPS_AT_ONCE})
        elif name in ("conv_dense.c", FOUR_BITS) and "dispatch_arm64.c" in files:
            condition = "!defined(EDGE_ARM64) && !defined(EDGE_CORTEX_M) /* which have kernels of their own */"
            code = f"#if {condition}\n{code}#endif\n"
        elif name == "conv_dense.c" and "dispatch_wasm.c" in files:
            code = f"#ifndef EDGE_WASM /* which has kernels of its own */\n{code}#endif\n"
        parts.append(f"/* {name.split('.')[0]}: {KERNELS[name].title}. */\n{code}".replace(". */\n/* ", ".\n * ", 1))
    return _for_weights("\n".join(parts), FOUR_BITS in files)


def _for_weights(code: str, has_four_bits: bool) -> str:
    """Kernels without what their weights do not need: ``EDGE_FOUR_BITS`` and ``EDGE_GROUP_BYTES`` are replaced here.

    Code of nets whose weights all have 8 bits thus stays as short as it would be without the choice.
    """
    code = _CHOICE.sub(lambda found: (found[1] if has_four_bits else found[2]) or "", code)
    return code.replace("EDGE_GROUP_BYTES", "layer->group_bytes" if has_four_bits else "EDGE_GROUP")


def _hash_of_shared(files: Sequence[str]) -> str:
    """Hash of the code of the kernels that nets may have in common: those that are not for vectors of any length."""
    last = "cortex_m.c" if "cortex_m.c" in files else "conv_dense.c"
    names = {last, *({FOUR_BITS} & set(files))}
    while missing := {need for name in names for need in KERNELS[name].needs} - names:
        names |= missing
    code = "".join((FOLDER / name).read_text() for name in sorted(names))
    return sha256_of(_for_weights(code, FOUR_BITS in files).encode())[:8]


def _microkernels(backend: Backend) -> str:
    """The microkernels of a backend, and the loop over the pixels of a layer that calls them."""
    microkernels, calls = [], {}
    arguments = _ARGUMENTS[backend.template]
    for pixels, widths in ((4, backend.four), (1, backend.one)):
        lines = []
        for vectors in widths:
            sums = backend.sums if pixels == 1 and vectors == widths[-1] else 1
            values = {"ISA": backend.name, "P": pixels, "V": vectors, "A": sums, "BYTES": backend.vector_bytes}
            if backend.template == "arm64":
                values["PRODUCTS"] = _products(backend.name, pixels, vectors)
            if pixels == 4 or not backend.has_one:
                template = (FOLDER / f"{backend.template}_microkernel.c.in").read_text()
                microkernels.append(_filled(template, values))
            channels = backend.vector_bytes // 4 * vectors
            lines += [
                f"for (; EDGE_BLOCK * layer->blocks - channel >= {channels}; channel += {channels}) {{",
                f"    edge_{backend.name}_{pixels}_{vectors}({arguments}, channel, to);",
                "}",
            ]
        calls[pixels] = "\n".join(f"{'':16}{line}" for line in lines)
    loop = (FOLDER / f"{backend.template}_loop.c.in").read_text()
    return "\n".join([*microkernels, _filled(loop, {"ISA": backend.name, "FOUR": calls[4], "ONE": calls[1]})]).rstrip()


def _products(name: str, pixels: int, vectors: int) -> str:
    """The products of a step, pixel by pixel, since the instructions take the number of the pixel as a constant."""
    lines = ["const uint32x4_t x = " + ("vld1q_u32(inputs + 4 * i);" if pixels == 4 else "vdupq_n_u32(inputs[i]);")]
    for p in range(pixels):
        lines += [
            f"EDGE_UNROLL for (int v = 0; v < {vectors}; v++) {{",
            f"    edge_dot_{name}(total[{p}][v], loaded[v], x, {p});",
            "}",
        ]
    return "\n".join(f"{'':8}{line}" for line in lines)


def _filled(template: str, values: dict[str, object]) -> str:
    """The template with each ``$NAME`` replaced; the longest names first, since one may begin another."""
    for key in sorted(values, key=len, reverse=True):
        template = template.replace(f"${key}", str(values[key]))
    return template
