"""The C of the kernels: plain C, and the backends that were asked for, each made from the same two templates."""

from __future__ import annotations

import re
from collections import Counter
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


# What ``export --backend`` takes, and the ``$IF`` blocks of the templates that each keeps. Plain C is always kept: it
# runs on processors without the vector instructions.
PARTS: dict[str, frozenset[str]] = {
    "all": frozenset({"vectors", "x86", "arm"}),
    "x86": frozenset({"vectors", "x86", "only_x86"}),
    "arm": frozenset({"vectors", "arm", "only_arm"}),
    "c99": frozenset(),
}
_IF = re.compile(r"^\$IF (\w+)\n(.*?)^\$END\n", re.DOTALL | re.MULTILINE)
# A static function and the comment before it.
_FUNCTION = re.compile(
    r"\n(?:/\*(?:[^*]|\*(?!/))*\*/\n)?static (?:inline )?\w+ (\w+)\([^;{]*\) \{\n.*?\n\}\n", re.DOTALL
)


def text(backend: str, steps: int, calls: str) -> str:
    """The kernels that ``calls`` need.

    Args:
        backend: a key of `PARTS`.
        steps: largest number of 4-byte input groups in any layer.
        calls: the code that calls kernels; functions that it does not need are left out.
    """
    kept = PARTS[backend]
    parts = []
    if "vectors" in kept:
        parts.append(f"#define EDGE_STEPS {steps + 16}\n")
    parts.append(_read("base"))
    if "vectors" in kept:
        parts += ["#if EDGE_X86 || EDGE_ARM64\n", _read("simd"), "#endif\n"]
    if "x86" in kept:
        parts += ["#if EDGE_X86\n", _read("x86"), *map(_backend, X86)]
        parts += ["#ifdef EDGE_HAS_AVX_VNNI\n", _backend(AVX_VNNI), "#endif\n#endif\n"]
    if "arm" in kept:
        parts += ["#if EDGE_ARM64\n", _read("arm64"), *map(_backend, ARM64), "#endif\n"]
    if "vectors" in kept:
        parts.append(_read("dispatch"))
    parts.append(_read("others"))
    whole = _IF.sub(lambda found: found[2] if found[1] in kept else "", "\n".join(parts))
    return _without_unused_functions(whole, calls)


def _without_unused_functions(kernels: str, calls: str) -> str:
    """Remove functions that nobody calls: compilers warn about them."""
    while True:
        words = Counter(re.findall(r"\w+", kernels + calls))
        unused = [found for found in _FUNCTION.finditer(kernels) if words[found[1]] == 1]
        if not unused:
            return re.sub(r"\n{3,}", "\n\n", kernels)
        for found in unused:
            kernels = kernels.replace(found[0], "\n")


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
