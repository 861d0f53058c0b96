"""Results of ``bench``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Latency, throughput and memory of one file on one engine, measured in one or more processes.

    A call is one call of `Session.predict`. Percentiles are those of the calls of all processes together.

    Attributes:
        path: the file.
        engine: the engine.
        threads: number of threads that the engine was given.
        batch: number of images in a call.
        n: number of measured calls.
        warmup: number of calls before them in each process, which are not counted.
        p50_us: median time of a call.
        p90_us: 90th percentile.
        p99_us: 99th percentile.
        p99_9_us: 99.9th percentile.
        min_us: shortest call.
        iqr_us: interquartile range.
        images_per_s: number of images in all measured calls, divided by the wall time of the measuring loops.
        clock_us: time that reading the clock twice takes, which is contained in the time of every call.
        start_ms: from the start of a new process to its first answer, in the process with the median of this time.
        import_ms: part of ``start_ms``: start of Python and import of mnist-edge.
        load_ms: part of ``start_ms``: import of the engine and loading of the file.
        first_ms: part of ``start_ms``: the first call.
        peak_rss_bytes: largest resident set size of any of the processes.
        size_bytes: size of the file.
        delegate: the delegate or execution provider that the engine was observed to use.
        version: version of the engine.
        samples_us: time of every call, process after process.
        process_p50_us: median of each process, in the order of the rounds; files of older versions have none.
        design_effect: variance between processes, divided by what it would be if all calls were independent. With 100,
            an interval computed from single calls is 10 times too narrow. None for one process.
        layers: with ``--layers``, the times of the ops in the order of execution, measured in calls of their own; None
            without it, or if the engine does not tell.
        layer_clock_us: what reading the clock for one layer costs, which was subtracted from its time; None if the
            engine does not tell, and the times contain it.
        no_layers: why ``--layers`` found none.
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
    layers: tuple[OpTime, ...] | None = None
    layer_clock_us: float | None = None
    no_layers: str | None = None


@dataclass(frozen=True)
class Machine:
    """The machine that measured, and its state. A field is None if the system does not tell.

    Attributes:
        processor: its name.
        cores: number of logical cores.
        architecture: as Python's `platform.machine` names it.
        board: name of a single-board computer.
        system: name of the operating system.
        kernel: version of the kernel.
        python: version of Python.
        governor: policy of the processor's clock, such as ``performance``.
        clock_mhz: clock of a core.
        temperature_c: of the processor, in degrees Celsius.
        throttled: output of ``vcgencmd get_throttled`` on a Raspberry Pi: bits 0 to 3 hold now, bits 16 to 19 at any
            time since it was started.
        load: load average of the last minute.
        cpu_family: number of an x86 processor's family.
        cpu_model: number of an x86 processor's model.
        cpu_flags: vector extensions of the processor.
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
class Op:
    """An op or layer as the engine runs it.

    Attributes:
        node: its name in the graph or in generated C. op: its kind, after fusions. kernel: what runs it, such as an
            execution provider. shape: of its output for one image; None if the engine does not tell.
    """

    node: str
    op: str
    kernel: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class OpTime(Op):
    """Time of one op in a call of the engine with one image.

    Attributes:
        us: interquartile mean in microseconds: the mean of the middle half of the calls. Medians would be too coarse,
            because the engines' profilers count whole microseconds.
        share: of the sum of the times of all ops, from 0 to 1.
    """

    us: float
    share: float


@dataclass(frozen=True)
class BoardTiming:
    """What generated C takes on a microcontroller, by the counter of its cycles.

    Attributes:
        path: the file. board: as ``--board`` names it. kernels: that the net ran on.
        n: number of measured calls with one image each, after one call that is not counted.
        differing: number of answers that differ from those of the same C on this machine.
        p50_cycles, min_cycles, max_cycles: of a call: median, fewest and most; None if the board does not count them.
        clock_hz: of the counter; None if the board does not tell.
        p50_us, min_us, max_us: the same as times; None without cycles or clock.
        stack_bytes: most stack that a call used; None if the board cannot measure it.
        size_bytes: of the file.
    """

    path: str
    board: str
    kernels: str
    n: int
    differing: int
    p50_cycles: int | None
    min_cycles: int | None
    max_cycles: int | None
    clock_hz: int | None
    p50_us: float | None
    min_us: float | None
    max_us: float | None
    stack_bytes: int | None
    size_bytes: int


@dataclass(frozen=True)
class Int8Worth:
    """A model's fastest int8 file on this machine against its fastest float export.

    Attributes:
        path, float_path: the files. engine, float_engine: the fastest engine of each. threads, batch: of both.
        p50_us, float_p50_us: median times of a call. speed: of int8, relative to float: above 1, int8 is faster.
        size_ratio: size of the int8 file, divided by that of the float export. For C, the int8 TFLite file next to it
            counts; None without it.
        accuracy_change_pp: change of the accuracy from the float model to the int8 file by the stored verdict, in
            percentage points; None without one.
        sentence: the above in one line. why: if int8 is slower, what runs it, and what the engine cannot tell.
        ops, float_ops: if int8 is slower and the engine can tell, the times of the ops of both, longest first.
    """

    path: str
    float_path: str
    engine: str
    float_engine: str
    threads: int
    batch: int
    p50_us: float
    float_p50_us: float
    speed: float
    size_ratio: float | None
    accuracy_change_pp: float | None
    sentence: str
    why: str | None = None
    ops: tuple[OpTime, ...] = ()
    float_ops: tuple[OpTime, ...] = ()


@dataclass(frozen=True)
class Ratio:
    """Call time of the second measurement divided by that of the first: below 1, the second is faster.

    Attributes:
        name: file name of the second measurement.
        engine: engine of the second measurement.
        threads: number of threads in both.
        batch: number of images in a call in both.
        before_us: first measurement: median of the medians of its processes.
        after_us: the same for the second measurement.
        ratio: Hodges-Lehmann estimate, which differs a little from ``after_us / before_us``. The method is in
            `mnist_edge.measure.latency_ratios`.
        ratio_ci95: its 95 % interval; None if there is none.
        before_name: file name of the first measurement.
        before_engine: engine of the first measurement.
        paired: whether both were measured in turns in one run.
        processes: number of processes of the first and of the second measurement.
        no_interval: why there is no interval.
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
        """Name of the file; both names if they differ."""
        return _both(self.before_name, self.name)

    @property
    def engines(self) -> str:
        """Name of the engine; both names if they differ."""
        return _both(self.before_engine, self.engine)


def _both(before: str, after: str) -> str:
    return f"{before} → {after}" if before not in {"", after} else after
