"""The order in which ``engine="auto"`` tries the engines.

Engines that ``bench`` has measured with the same file on the same processor come first, the fastest first. Without such
measurements the order is that of `Engine.rank`, which is based on benchmarks/results/runtime.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_edge.store.files import write_json
from mnist_edge.toolchains.host import processor

# Reasons for an engine, shown to the user.
BY_RANK = "by default: bench has not compared the engines with this file here"
ASKED = "asked for"


def evidence_path() -> Path:
    """Path of the file with the measurements, in the user's state folder."""
    import platformdirs

    return Path(platformdirs.user_state_dir("mnist-edge")) / "engines.json"


def record(sha256: str, p50_us: dict[str, float]) -> None:
    """Store the latencies of several engines with one file.

    The latency of a single engine is not stored, because it decides nothing.

    Args:
        sha256: hash of the file's content. p50_us: by engine, the median time of one image in microseconds.
    """
    if len(p50_us) > 1:
        known = _read()
        known[sha256] = {"processor": processor(), "p50_us": p50_us}
        write_json(evidence_path(), known)


def order(sha256: str, by_rank: Sequence[str]) -> tuple[list[str], str]:
    """Sort the engines of a file.

    Args:
        sha256: hash of the file's content.
        by_rank: names of the engines, in the default order.

    Returns:
        The names in the order to try them, and the reason for the order, in words.
    """
    entry = _read().get(sha256)
    try:
        times = {name: float(entry["p50_us"][name]) for name in by_rank if name in entry["p50_us"]}  # type: ignore[index]
        if entry["processor"] != processor() or len(times) < 2:  # type: ignore[index]
            times = {}
    except (KeyError, TypeError, ValueError):
        times = {}
    if not times:
        return list(by_rank), BY_RANK
    fastest = sorted(times, key=times.__getitem__)
    others = ", ".join(f"{name} {times[name]:.1f}" for name in fastest[1:])
    why = f"fastest here by bench: {times[fastest[0]]:.1f} us an image, {others}"
    return [*fastest, *(name for name in by_rank if name not in times)], why


def _read() -> dict[str, Any]:
    try:
        value = json.loads(evidence_path().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
