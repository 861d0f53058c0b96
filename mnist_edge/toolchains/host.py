"""Name of this machine's processor, and text files in which Linux describes the machine."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Name of the processor, as the system gives it; on some machines, such as a Raspberry Pi, that of the board."""
    for key in ("model name", "Model", "Hardware"):
        found = field(CPU_INFO, key, ":")
        if found:
            return found
    return platform.processor() or platform.machine()


def field(path: Path, key: str, separator: str) -> str | None:
    """The value of the first line of a file that begins with a key; None if there is none."""
    for line in (text_of(path) or "").splitlines():
        name, found, value = line.partition(separator)
        if found and name.strip() == key:
            return value.strip().strip('"')
    return None


def text_of(path: Path) -> str | None:
    """Text of a file of the system; None if it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
