"""Description of the machine and its state, read from the operating system."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from mnist_edge.results import Machine
from mnist_edge.toolchains import host
from mnist_edge.toolchains.host import field, processor, text_of

_BOARD = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CLOCK = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_OS_RELEASE = Path("/etc/os-release")
# Bits of `vcgencmd get_throttled` (Raspberry Pi documentation): under-voltage, frequency capped, throttled, soft
# temperature limit. The bits 16 places higher are the same since boot.
_NOW = 0xF
# Prefixes of the names of x86 and Arm vector extensions in /proc/cpuinfo.
_VECTOR_PREFIXES = ("sse", "ssse", "avx", "fma", "f16c", "amx", "neon", "vfp", "asimd", "sve", "i8mm")


def machine() -> Machine:
    """Describe this machine and its present state; a fact that the system does not give is None."""
    clock, temperature = _number(_CLOCK), _number(_TEMPERATURE)
    return Machine(
        processor=processor(),
        cores=os.cpu_count() or 1,
        architecture=platform.machine(),
        board=(text_of(_BOARD) or "").strip("\0 \n") or None,
        system=field(_OS_RELEASE, "PRETTY_NAME", "=") or platform.system(),
        kernel=platform.release(),
        python=platform.python_version(),
        governor=(text_of(_GOVERNOR) or "").strip() or None,
        clock_mhz=clock / 1e3 if clock is not None else _mhz(),
        temperature_c=temperature / 1e3 if temperature is not None else None,
        throttled=_throttled(),
        load=os.getloadavg()[0],
        cpu_family=_integer("cpu family"),
        cpu_model=_integer("model"),
        cpu_flags=_vector_flags(),
    )


def described_processor(item: Machine) -> str:
    """Name of the processor with its family, model number and vector extensions, as far as they are known."""
    known = [
        *([f"family {item.cpu_family}"] if item.cpu_family is not None else []),
        *([f"model {item.cpu_model}"] if item.cpu_model is not None else []),
        *([" ".join(item.cpu_flags)] if item.cpu_flags else []),
    ]
    return f"{item.processor} ({', '.join(known)})" if known else item.processor


def was_throttled(before: Machine, after: Machine) -> bool:
    """Whether the processor was throttled between two descriptions.

    That is if a bit of the present state is set in either, or if a bit of the state since boot was set in between.
    """
    start, end = (int(item.throttled, 16) if item.throttled else 0 for item in (before, after))
    return bool((start | end) & _NOW or (end & ~start) >> 16)


def _integer(key: str) -> int | None:
    text = field(host.CPU_INFO, key, ":")
    return int(text) if text and text.isdecimal() else None


def _vector_flags() -> tuple[str, ...] | None:
    text = field(host.CPU_INFO, "flags", ":") or field(host.CPU_INFO, "Features", ":")
    return tuple(sorted(name for name in text.split() if name.startswith(_VECTOR_PREFIXES))) if text else None


def _mhz() -> float | None:
    text = field(host.CPU_INFO, "cpu MHz", ":")
    return float(text) if text else None


def _throttled() -> str | None:
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    word = done.stdout.strip().partition("=")[2]
    try:
        return hex(int(word, 16))
    except ValueError:
        return None


def _number(path: Path) -> float | None:
    try:
        return float(text_of(path) or "")
    except ValueError:
        return None
