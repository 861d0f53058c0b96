"""Checks of the machine: Python, user space, memory, /sys, clock and power supply."""

from __future__ import annotations

import contextlib
import platform
import struct
import sys
import sysconfig
import time
from pathlib import Path

from mnist_edge.measure.machine import machine
from mnist_edge.results import Finding

# An earlier time (in seconds since 1970) shows that the clock was never set: a Raspberry Pi's stops without power.
EARLIEST = 1_790_000_000  # 2026-09-21
# Free memory that an engine and a model need.
ENOUGH_BYTES = 200 << 20
MEMORY = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")
PROCESSORS = Path("/sys/devices/system/cpu")
_BITS_64 = ("aarch64", "arm64", "x86_64", "AMD64")
# Meanings of the bits of `vcgencmd get_throttled`.
_POWER = {
    0: "the voltage is too low", 1: "the clock is capped", 2: "the processor is throttled", 3: "it is too hot",
    16: "the voltage was too low", 17: "the clock was capped", 18: "the processor was throttled", 19: "it was too hot",
}  # fmt: skip


def python() -> Finding:
    """Whether pip may install packages into this Python."""
    check, name = "python", f"Python {platform.python_version()}"
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and marker.is_file():
        return Finding(
            check, "warning", f"{name} is the system's own, and refuses pip install",
            "Make an environment: python3 -m venv ~/edge && ~/edge/bin/pip install mnist-edge",
        )  # fmt: skip
    return Finding(check, "ok", name)


def user_space() -> Finding:
    """Whether programs have 32 bits although the kernel has 64: pip then installs wheels that do not fit."""
    check, bits, kernel = "user space", 8 * struct.calcsize("P"), platform.machine()
    if bits == 32 and kernel in _BITS_64:
        return Finding(
            check, "warning", f"32-bit programs on a 64-bit kernel ({kernel}): wheels for {kernel} do not fit",
            "Install the 64-bit edition of the system; on this one only 32-bit wheels (armv7l) work.",
        )  # fmt: skip
    return Finding(check, "ok", f"{bits} bits on {kernel}")


def memory() -> Finding:
    """Whether an engine and a model fit into the free memory."""
    free = _available()
    if free is None:
        return Finding("memory", "ok", "the system does not say how much is free")
    found = f"{free >> 20} MiB free"
    if free < ENOUGH_BYTES:
        return Finding(
            "memory", "warning", f"{found}: an engine needs {ENOUGH_BYTES >> 20} MiB",
            "End other programs, or add swap (zram-tools).",
        )  # fmt: skip
    return Finding("memory", "ok", found)


def sysfs() -> Finding:
    """Whether engines can read the processor's properties from /sys."""
    if sys.platform == "linux" and not PROCESSORS.is_dir():
        return Finding(
            "/sys", "warning", "/sys is not visible: engines cannot tell the processor's cores and instructions",
            "Mount it (mount -t sysfs sysfs /sys), or let the container or sandbox see it.",
        )  # fmt: skip
    return Finding("/sys", "ok", "visible" if sys.platform == "linux" else "not needed on this system")


def clock() -> Finding:
    """Whether the clock was set, without which certificates are not accepted."""
    if time.time() < EARLIEST:
        return Finding(
            "clock", "failed", f"it says {time.strftime('%Y-%m-%d', time.gmtime())}: certificates are not valid yet",
            "Set it: sudo timedatectl set-ntp true", code=3,
        )  # fmt: skip
    return Finding("clock", "ok", time.strftime("%Y-%m-%d", time.gmtime()))


def power() -> Finding:
    """Whether a Raspberry Pi reports undervoltage or throttling since it was started."""
    flags = machine().throttled
    if flags is None:
        return Finding("power", "ok", "the system does not say (no vcgencmd)")
    problems = [text for bit, text in _POWER.items() if int(flags, 16) >> bit & 1]
    if problems:
        return Finding(
            "power", "warning", f"{', '.join(problems)} ({flags})",
            "Use the power supply made for the board, a short cable and a cooler; then restart the board.",
        )  # fmt: skip
    return Finding("power", "ok", "no undervoltage, not throttled")


def _available() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError, IndexError):
        return None
    with contextlib.suppress(OSError, ValueError):  # the limit of a container, if there is one
        free = min(free, int(CONTROL_GROUP.read_text()))
    return free


CHECKS = (python, user_space, memory, sysfs, clock, power)
