"""What ``bench`` returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """What one file costs on one engine: calls of `Session.predict`, with ``batch`` images each.

    ``_us`` are times of one call; their percentiles are those of the calls of all processes together.
    ``images_per_s`` is the number of images in all measured calls divided by the wall time of the measuring loops.
    ``start_ms`` is from the start of a new process to its first answer: ``import_ms`` (with Python's own start),
    ``load_ms`` (with the engine's import) and ``first_ms``, the first call; all four are of the process with the median
    start. ``peak_rss_bytes`` is the largest of any process. ``delegate`` is what the engine was observed to use.
    ``clock_us`` is what reading the clock twice costs, which is in every figure.

    ``process_p50_us`` is the median call time of each process, in the order of the rounds; files of older versions have
    none. ``design_effect`` is the variance between processes divided by what it would be if all calls were independent:
    1 if they are; 100 says that an interval computed from single calls is 10 times too narrow. It is None for one
    process. ``samples_us`` are all calls, process after process.
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
    process_p50_us: tuple[float, ...] = ()
    design_effect: float | None = None


@dataclass(frozen=True)
class Machine:
    """Where it was measured, as far as the system tells; None where it does not.

    ``throttled`` is what ``vcgencmd get_throttled`` says on a Raspberry Pi: bits 0 to 3 now, 16 to 19 since the start.
    ``cpu_family`` and ``cpu_model`` are numbers of x86 processors; ``cpu_flags`` are the vector extensions alone.
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
    cpu_family: int | None = None
    cpu_model: int | None = None
    cpu_flags: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Ratio:
    """Call time of one measurement divided by that of another, with its 95 % interval: below 1 is faster.

    ``before_us`` and ``after_us`` are medians of the processes' medians. ``ratio`` is the Hodges-Lehmann estimate, from
    which ``after_us / before_us`` can differ a little; ``mnist_edge.measure.latency_ratios`` has the method. ``name``
    and ``engine`` are of the second measurement. ``paired`` says that both were measured round by round in one run.
    ``processes`` are the numbers of processes before and after. ``no_interval`` says why there is none.
    """

    name: str
    engine: str
    threads: int
    batch: int
    before_us: float
    after_us: float
    ratio: float
    ratio_ci95: tuple[float, float] | None
    before_name: str = ""
    before_engine: str = ""
    paired: bool = False
    processes: tuple[int, int] = (1, 1)
    no_interval: str | None = None

    @property
    def files(self) -> str:
        """Name of the file, or both names if they differ."""
        return _both(self.before_name, self.name)

    @property
    def engines(self) -> str:
        """Name of the engine, or both names if they differ."""
        return _both(self.before_engine, self.engine)


def _both(before: str, after: str) -> str:
    return f"{before} → {after}" if before not in {"", after} else after
