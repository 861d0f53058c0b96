"""What ``bench`` returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """What one file costs on one engine: calls of `Session.predict`, with ``batch`` images each.

    ``_us`` are of a call; ``images_per_s`` follows from the median. ``start_ms`` is from the start of a new process to
    its first answer: ``import_ms`` (with Python's own start), ``load_ms`` (with the engine's import) and ``first_ms``,
    the first call. ``delegate`` is what the engine was observed to use. ``clock_us`` is what reading the clock twice
    costs, which is in every figure.
    """

    path: str
    engine: str
    threads: int
    batch: int
    n: int
    warmup: int
    p50_us: float
    p90_us: float
    p99_us: float
    p99_9_us: float
    min_us: float
    iqr_us: float
    images_per_s: float
    clock_us: float
    start_ms: float
    import_ms: float
    load_ms: float
    first_ms: float
    peak_rss_bytes: int
    size_bytes: int
    delegate: str
    version: str
    samples_us: tuple[float, ...] = ()


@dataclass(frozen=True)
class Machine:
    """Where it was measured, as far as the system tells; None where it does not.

    ``throttled`` is what ``vcgencmd get_throttled`` says on a Raspberry Pi: bits 0 to 3 now, 16 to 19 since the start.
    """

    processor: str
    cores: int
    architecture: str
    board: str | None
    system: str
    kernel: str
    python: str
    governor: str | None
    clock_mhz: float | None
    temperature_c: float | None
    throttled: str | None
    load: float


@dataclass(frozen=True)
class Ratio:
    """The median of one run over that of another, with its bootstrap interval: below 1 is faster."""

    name: str
    engine: str
    threads: int
    batch: int
    before_us: float
    after_us: float
    ratio: float
    ratio_ci95: tuple[float, float] | None
