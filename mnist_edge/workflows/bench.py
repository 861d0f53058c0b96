"""``bench``: latency, throughput, memory and start of model files on this machine, and comparisons of two."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from mnist_edge.data.fetch import Progress, no_progress
from mnist_edge.errors import GateError, MnistEdgeError, RefusedError, UsageError
from mnist_edge.measure.latency import TELLING, BenchConfig
from mnist_edge.measure.machine import machine, was_throttled
from mnist_edge.results import BoardTiming, Int8Worth, Ratio
from mnist_edge.runtime.engines import ENGINES
from mnist_edge.store.files import check_target
from mnist_edge.workflows import board_bench
from mnist_edge.workflows.board import BoardOptions
from mnist_edge.workflows.comparison import are_models, compare_runs, comparison_error, write_comparison
from mnist_edge.workflows.file_choice import FileOptions, Note, choose_files, no_note
from mnist_edge.workflows.int8_worth import int8_worth
from mnist_edge.workflows.measurement import (
    PAIR_PROCESSES,
    BenchRun,
    Plan,
    measure,
    measure_pair,
    slower_than_float,
)


@dataclass(frozen=True, kw_only=True)
class BenchOptions(FileOptions):
    """What ``bench`` measures or compares.

    Attributes:
        threads, batches: numbers of threads and of images per call; all combinations are measured.
        seconds, count: minimum measuring time and number of calls per configuration. warmup: number of calls before
            them that are not counted.
        processes: new processes per configuration; None for 7, or 20 for ``compare``.
        samples: whether to keep the time of every call.
        layers: whether to measure the layers too, of files whose engine can tell.
        compare: two model files to measure in the same rounds, or two outputs of ``bench --json``.
        gate: largest ratio of ``compare`` that passes; None for no gate.
        markdown, plot: where to write the comparison as a table and as an SVG picture.
        strict: fail if the processor was throttled.
        board: the microcontroller that runs the one ``.c`` file, as ``verify`` takes it; None for this machine.
    """

    command: ClassVar[str] = "bench"

    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1,)
    seconds: float = BenchConfig.seconds
    count: int = BenchConfig.count
    warmup: int = BenchConfig.warmup
    processes: int | None = None
    samples: bool = False
    layers: bool = False
    compare: tuple[Path, Path] | None = None
    gate: float | None = None
    markdown: Path | None = None
    plot: Path | None = None
    strict: bool = False
    board: str | None = None


@dataclass(frozen=True)
class BenchResult:
    """The result of ``bench``.

    Attributes:
        run: what was measured; None if two earlier runs were compared.
        throttled: whether the processor was throttled during the run.
        notes: sentences about what makes the figures doubtful or surprising.
        ratios: of a comparison; None without one.
        error: why ``gate`` or ``strict`` fails, or why there are no times of ``layers``; None if nothing fails.
        int8: for each model of which int8 files and float exports were measured, how they compare.
        board: what a microcontroller took; None without one.
    """

    run: BenchRun | None
    throttled: bool
    notes: tuple[str, ...]
    ratios: tuple[Ratio, ...] | None
    error: MnistEdgeError | None
    int8: tuple[Int8Worth, ...] = ()
    board: BoardTiming | None = None


def bench(options: BenchOptions, progress: Progress = no_progress, note: Note = no_note) -> BenchResult:
    """Measure model files, or compare two.

    Args:
        options: files, configurations and comparison. progress: called with the number of processes that ended.
        note: called with a sentence for each group of files that are left out.

    Raises:
        UsageError: no such file, nothing to compare, or ``layers`` of an engine that does not tell them.
        MissingError: no engine for a file, or no matplotlib for a plot.
        ContentError: a file that is corrupt, or no output of ``bench --json``.
        StageError: a measuring process ended without an answer, or a report cannot be written.
    """
    for target in (options.markdown, options.plot):
        if target is not None:
            check_target(target)
    if options.layers:
        _check_layers(options)
    if options.board is not None:
        return _bench_board(options, options.board, progress, note)
    ratios: tuple[Ratio, ...] | None = None
    pair = options.compare
    if pair is not None and not are_models(pair):
        ratios = compare_runs(pair)
        write_comparison(ratios, options.markdown, options.plot)
        return BenchResult(None, False, (), ratios, comparison_error(ratios, options.gate))
    default = BenchConfig.processes if pair is None else PAIR_PROCESSES
    config = BenchConfig(
        "", seconds=options.seconds, count=options.count, warmup=options.warmup,
        processes=options.processes or default, trust=options.trust, samples=options.samples,
        layers=options.layers,
    )  # fmt: skip
    plan = Plan(config, options.engine, options.threads, options.batches)
    if pair is not None:
        run, ratios = measure_pair(pair, plan, progress)
    else:
        run = measure(choose_files(options, note).files, plan, progress)
    error: MnistEdgeError | None = _without_layers(run) if options.layers else None
    if ratios is not None:
        write_comparison(ratios, options.markdown, options.plot)
        error = comparison_error(ratios, options.gate)
    throttled = was_throttled(run.before, run.after)
    if throttled and options.strict:
        error = GateError("The processor was throttled during the run.", "Cool it, and give it a better power supply.")
    compared = int8_worth(run.reports) if pair is None else ()
    return BenchResult(run, throttled, _notes(run, throttled), ratios, error, compared)


# Options that mean nothing on a board, which runs one image at a time on one processor.
_NOT_ON_BOARDS = (
    "engine", "threads", "batches", "seconds", "warmup", "processes", "samples", "layers", "compare", "gate",
    "markdown", "plot", "strict",
)  # fmt: skip


def _bench_board(options: BenchOptions, spec: str, progress: Progress, note: Note) -> BenchResult:
    """Measure one ``.c`` file on a board.

    Raises:
        UsageError: another option contradicts the board. MnistEdgeError: see `board_bench.measure`.
    """
    default, board = BenchOptions(), BoardOptions(spec)
    parsed = board.parsed()
    for name in _NOT_ON_BOARDS:
        if vars(options)[name] != vars(default)[name]:
            option = "--batch" if name == "batches" else f"--{name}"
            raise UsageError(
                f"{option} cannot be used with --board.",
                f"Leave it out: {shlex.join(['mnist-edge', 'bench', *map(str, options.models), '--board', spec])}",
            )
    path = board.only_file(choose_files(replace(options, engine="native"), note).files)
    before = machine()
    timing = board_bench.measure(path, parsed, options.count, options.trust, progress)
    why = board_bench.note(timing)
    run = BenchRun(before, (), machine())
    return BenchResult(run, False, () if why is None else (why,), None, board_bench.error(timing), board=timing)


def _check_layers(options: BenchOptions) -> None:
    """Refuse options with which layers cannot be measured.

    Raises:
        UsageError: there are such options.
    """
    if options.compare is not None or options.batches != (1,):
        raise UsageError("--layers is for one image a call, without --compare.", "Leave out --compare and --batch.")
    engine = ENGINES.get(options.engine)
    if engine is not None and engine.op_times is None:
        raise UsageError(f"The engine {engine.name} does not tell the times of layers.", TELLING)


def _without_layers(run: BenchRun) -> RefusedError | None:
    """The error for a run in which no file has times of layers."""
    if any(item.layers is not None for item in run.reports):
        return None
    return RefusedError(
        " ".join(dict.fromkeys(item.no_layers for item in run.reports if item.no_layers)),
        "Name a .onnx file, or a .c that this version exports: mnist-edge export MODEL --format c",
    )


def _notes(run: BenchRun, throttled: bool) -> tuple[str, ...]:
    before, after = run.before, run.after
    notes = slower_than_float(run.reports)
    if throttled:
        notes.append(f"The processor was throttled during the run ({before.throttled}, then {after.throttled}).")
    if before.load > before.cores / 2:
        notes.append(f"The machine was busy when this began: load {before.load:.1f} on {before.cores} cores.")
    return tuple(notes)
