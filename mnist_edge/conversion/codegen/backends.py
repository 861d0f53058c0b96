"""The C of the kernels: one text with every backend that a compiler may have, each from the same two templates."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

KERNELS = Path(__file__).parent / "kernels"


class Backend(NamedTuple):
    """Vectors of ``bytes`` weights; how many of them are summed side by side, most first, for four pixels and for one.

    The last of either must divide 16 channels, to which weights are padded.
    """

    name: str
    bytes: int
    four: tuple[int, ...]
    one: tuple[int, ...]


X86 = (Backend("avx2", 16, (2,), (8, 4)), Backend("avx512", 64, (4, 2, 1), (8, 4, 1)))
AVX_VNNI = Backend("avxvnni", 32, (2,), (8, 2))
ARM64 = (Backend("neon", 8, (4,), (8,)), Backend("neon_dot", 16, (4,), (16, 4)))


def text(steps: int) -> str:
    """All kernels.

    Args:
        steps: of the longest sum, in groups of four inputs.
    """
    parts = [f"#define EDGE_STEPS {steps + 16}\n", _read("base")]
    parts += ["#if EDGE_X86 || EDGE_ARM64\n", _read("simd"), "#endif\n"]
    parts += ["#if EDGE_X86\n", _read("x86"), *map(_backend, X86)]
    parts += ["#ifdef EDGE_HAS_AVX_VNNI\n", _backend(AVX_VNNI), "#endif\n#endif\n"]
    parts += ["#if EDGE_ARM64\n", _read("arm64"), *map(_backend, ARM64), "#endif\n"]
    parts += [_read("dispatch"), _read("others")]
    return "\n".join(parts)


def _read(name: str) -> str:
    return (KERNELS / f"{name}.c").read_text()


def _backend(item: Backend) -> str:
    blocks, calls = "", {}
    for pixels, widths in ((4, item.four), (1, item.one)):
        lines = []
        for vectors in widths:
            numbers = {"ISA": item.name, "P": pixels, "V": vectors, "BYTES": item.bytes}
            blocks += _filled(_read("block"), numbers) + "\n"
            channels = item.bytes // 4 * vectors
            lines.append(f"for (; 16 * layer->blocks - channel >= {channels}; channel += {channels})")
            lines.append(f"    edge_{item.name}_{pixels}_{vectors}(layer, first, at, input, weights, n, channel, to);")
        calls[pixels] = "\n".join(f"{'':16}{line}" for line in lines)
    layer = _filled(_read("layer"), {"ISA": item.name, "FOUR": calls[4], "ONE": calls[1]})
    return f"{blocks}{layer}"


def _filled(template: str, values: dict[str, object]) -> str:
    for key in sorted(values, key=len, reverse=True):
        template = template.replace(f"${key}", str(values[key]))
    return template
