"""Which processor a figure was measured on: names such as "AMD EPYC" stand for several that differ."""

from __future__ import annotations

from pathlib import Path

from mnist_edge.runtime.machine import processor

# The flags of /proc/cpuinfo that decide which kernels an engine takes, the oldest first.
VECTOR_FLAGS = (
    "sse4_2", "avx", "fma", "avx2", "avx_vnni", "avx512f", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8",
    "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip


def describe(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, family and model, and its vector instructions, as a phrase.

    Example: AMD EPYC (family 23, model 1; sse4_2 avx fma avx2)
    """
    facts: dict[str, str] = {}
    for line in cpu_info.read_text().splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    # x86 has the former names, Arm the latter.
    flags = facts.get("flags", facts.get("Features", "")).split()
    numbers = [
        f"{name} {facts[key]}"
        for key, name in (("cpu family", "family"), ("model", "model"), ("CPU part", "part"))
        if key in facts
    ]
    vector = " ".join(flag for flag in VECTOR_FLAGS if flag in flags) or "no vector instructions"
    return f"{facts.get('model name', processor())} ({', '.join(numbers)}; {vector})"
