"""Latency of `Session.predict`, measured in a separate process: ``python -m mnist_edge.measure.latency JSON``."""

from __future__ import annotations

import time

STARTED = time.monotonic_ns()  # before all other imports, whose time is part of the start

import base64  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from dataclasses import asdict, dataclass, replace  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from mnist_edge.errors import MnistEdgeError, RefusedError  # noqa: E402
from mnist_edge.int8.quantize import as_inputs  # noqa: E402
from mnist_edge.results import Op  # noqa: E402
from mnist_edge.results.serialization import from_json  # noqa: E402
from mnist_edge.runtime import open_session  # noqa: E402
from mnist_edge.runtime.engines import ENGINES  # noqa: E402
from mnist_edge.runtime.engines.interface import OpSamples  # noqa: E402
from mnist_edge.runtime.selftest import Golden, golden_path  # noqa: E402
from mnist_edge.runtime.session import Session  # noqa: E402

KIB = 1024
CLOCK_READINGS = 2000
TELLING = f"Engines that do: {', '.join(name for name, engine in ENGINES.items() if engine.op_times is not None)}."


@dataclass(frozen=True)
class BenchConfig:
    """Settings of the measurement of one file.

    Calls are timed until there are at least ``count`` and at least ``seconds`` have passed, after ``warmup`` calls that
    are not timed. All three numbers are divided among ``processes`` new processes. Seven is the smallest number with
    which a single disturbed process cannot set an end of the confidence interval that compares two runs: for seven and
    seven processes, the exact rank test leaves out eight pairwise ratios at either end.
    """

    path: str
    engine: str = "auto"
    threads: int = 1
    batch: int = 1
    seconds: float = 1.0
    count: int = 100
    warmup: int = 50
    processes: int = 7
    trust: bool = False
    samples: bool = False
    layers: bool = False
    # Time at which the parent started this process, by the system's monotonic clock; 0 if there is no parent.
    started_ns: int = 0


@dataclass(frozen=True)
class ProcessReport:
    """Result of one process for one configuration. Units are in the names."""

    engine: str
    delegate: str
    version: str
    clock_us: float
    start_ms: float
    import_ms: float
    load_ms: float
    first_ms: float
    peak_rss_bytes: int
    # Wall time of the timed loop, from before the first call to after the last.
    wall_ns: int
    calls_ns: NDArray[np.int64]
    # If the configuration asks for them: the times of the layers, or why the engine does not tell them.
    layers: OpSamples | None = None
    no_layers: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON value for `from_json`; ``calls_ns`` is base64 of little-endian int64."""
        layers = None if self.layers is None else {**asdict(self.layers), "us": self.layers.us.round(4).tolist()}
        calls_ns = base64.b64encode(self.calls_ns.astype("<i8").tobytes()).decode()
        return {**vars(self), "calls_ns": calls_ns, "layers": layers}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ProcessReport:
        """Inverse of `to_json`."""
        layers = value["layers"]
        if layers is not None:
            layers = OpSamples(from_json(tuple[Op, ...], layers["ops"]), np.array(layers["us"]), layers["clock_us"])
        calls_ns = np.frombuffer(base64.b64decode(value["calls_ns"]), "<i8")
        return cls(**{**value, "calls_ns": calls_ns, "layers": layers})


def measure(session: Session, images: NDArray[np.uint8], config: BenchConfig) -> tuple[NDArray[np.int64], int]:
    """Time calls of ``session.predict`` on the batches of some images, cyclically.

    Python's garbage collector is off during the loop, because its pauses do not belong to the model.

    Args:
        session: an open model file.
        images: uint8, of the shape of the session's images, at least one batch.
        config: number of calls, duration and batch size.

    Returns:
        Nanoseconds of each call, int64 (calls,), and nanoseconds of the whole loop.
    """
    starts = range(0, len(images) - config.batch + 1, config.batch)
    batches = [np.ascontiguousarray(images[at : at + config.batch]) for at in starts]
    predict, clock, turns = session.predict, time.perf_counter_ns, len(batches)
    for at in range(config.warmup):
        predict(batches[at % turns])
    taken: list[int] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        end = start + round(config.seconds * 1e9)
        while len(taken) < config.count or clock() < end:
            batch = batches[len(taken) % turns]
            begun = clock()
            predict(batch)
            taken.append(clock() - begun)
        wall = clock() - start
    finally:
        if collecting:
            gc.enable()
    return np.array(taken), wall


def clock_overhead_ns() -> float:
    """Cost of the measurement itself: median nanoseconds between two consecutive readings of the clock."""
    clock = time.perf_counter_ns
    gaps = []
    for _ in range(CLOCK_READINGS):
        begun = clock()
        gaps.append(clock() - begun)
    return float(np.median(gaps))


def report(config: BenchConfig) -> ProcessReport:
    """Measure one configuration in this process, its start included.

    Raises:
        MnistEdgeError: the file cannot be opened.
    """
    imported = time.monotonic_ns()
    session = open_session(Path(config.path), config.engine, config.threads, config.trust)
    loaded = time.monotonic_ns()
    images = inputs(session, config.batch)
    ready = time.monotonic_ns()
    session.predict(images[: config.batch])
    first = time.monotonic_ns()
    calls_ns, wall_ns = measure(session, images, config)
    began = config.started_ns or STARTED
    made = ProcessReport(
        engine=session.engine,
        delegate=session.delegate,
        version=version(ENGINES[session.engine].package),
        clock_us=clock_overhead_ns() / 1e3,
        start_ms=(first - ready + loaded - began) / 1e6,
        import_ms=(imported - began) / 1e6,
        load_ms=(loaded - imported) / 1e6,
        first_ms=(first - ready) / 1e6,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB,
        wall_ns=wall_ns,
        calls_ns=calls_ns,
    )
    return _with_layers(made, session, config.threads) if config.layers else made


def _with_layers(made: ProcessReport, session: Session, threads: int) -> ProcessReport:
    try:
        return replace(made, layers=op_samples(session, threads))
    except RefusedError as error:
        return replace(made, no_layers=error.cause)


def op_samples(session: Session, threads: int) -> OpSamples:
    """Times of the ops of an open file, in calls with one image each of `inputs`.

    Raises:
        RefusedError: the engine does not tell them.
    """
    op_times = ENGINES[session.engine].op_times
    if op_times is None:
        raise RefusedError(f"{session.engine} does not tell the times of layers.", TELLING)
    images = inputs(session, 1)
    port = ENGINES[session.engine].load(session.file.content, 1).input
    if session.takes_images or images.dtype != port.dtype:
        images = as_inputs(images, port, session.contract.pixel_scale)
    return op_times(session.file.content, threads, images.reshape(-1, *port.shape))


def inputs(session: Session, batch: int) -> NDArray[Any]:
    """Inputs to measure with, at least one batch: the golden set next to the file if it exists, else random ones.

    Random inputs are pixels, or float32 values of a standard normal distribution for a model of features.
    """
    path = golden_path(session.path)
    images: NDArray[Any]
    if path.is_file():
        images = Golden.from_bytes(session.file.companion(path.name)).images
    elif session.takes_images:
        images = np.random.default_rng(0).integers(0, 256, (64, *session.image_shape), np.uint8)
    else:
        images = np.random.default_rng(0).standard_normal((64, *session.image_shape), np.float32)
    return np.resize(images, (max(len(images), batch), *images.shape[1:]))


def main() -> int:
    """Read a configuration as JSON from the command line; write a report or an error as JSON to stdout."""
    config = BenchConfig(**json.loads(sys.argv[1]))
    answer: dict[str, Any]
    try:
        answer = {"process": report(config).to_json()}
    except MnistEdgeError as error:
        answer = {"error": [type(error).__name__, error.cause, error.remedy]}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def arguments(config: BenchConfig) -> list[str]:
    """Command line of a process that measures a configuration. Start it at once: it contains the start time."""
    asked = replace(config, started_ns=time.monotonic_ns())
    return [sys.executable, "-m", "mnist_edge.measure.latency", json.dumps(asdict(asked))]


if __name__ == "__main__":
    sys.exit(main())
