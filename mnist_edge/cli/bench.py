"""``mnist-edge bench``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mnist_edge.cli import options
from mnist_edge.cli.layer_times import layer_tables
from mnist_edge.cli.output import Output, table
from mnist_edge.store.workspace import DEFAULT_WORKSPACE, shown_path

NAME = "bench"
OPS = 8  # ops that are shown if int8 is slower than float


def command(
    models: options.Models = None,
    model: options.OnlyModel = None,
    shipped_: options.Shipped = False,
    engine: options.Engine = "auto",
    threads: Annotated[
        list[int] | None,
        typer.Option("--threads", min=1, max=256, help="Threads of the engine. May be given several times."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option("--batch", min=1, max=10_000, help="Images per call. May be given several times."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, max=600, help="Least measuring time per configuration.")
    ] = 1.0,
    count: Annotated[int, typer.Option("--count", min=1, help="Least number of calls per configuration.")] = 100,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Calls before the measured ones.")] = 50,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=1000,
            help="New processes per configuration, which share its time and calls. Default: 7; 20 with --compare.",
        ),
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="With --json: the time of every call.")] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also the time of each layer, on native, litert and onnxruntime.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            help="Two model files, which are measured in the same rounds; or two outputs of bench --json.",
        ),
    ] = None,
    gate: Annotated[float | None, typer.Option("--gate", help="With --compare: fail if a ratio is above this.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="With --compare: write the table as Markdown.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="With --compare: write an SVG picture.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if the processor was throttled during the run.")
    ] = False,
    board: Annotated[
        str | None,
        typer.Option("--board", help="Measure one .c file on a board: serial:/dev/ttyACM0, qemu:cortex-m4."),
    ] = None,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Measure latency, throughput and memory on this machine.

    Every configuration is measured in several new processes. The delegate that the engine was seen to use is shown.

    Example: mnist-edge bench artifacts/cnn --threads 1 --threads 2

    Example: mnist-edge bench artifacts/cnn/cnn-int8.c --layers

    On a board: mnist-edge bench artifacts/cnn/cnn-int8.c --board serial:/dev/ttyACM0
    """
    from mnist_edge.workflows import bench

    output = Output(NAME, as_json, debug)
    chosen = bench.BenchOptions(
        models=tuple(models or ()), model=model, shipped=shipped_, workspace=workspace, engine=engine, trust=trust,
        threads=tuple(threads or (1,)), batches=tuple(batch or (1,)), seconds=seconds, count=count, warmup=warmup,
        processes=processes, samples=samples and as_json, layers=layers, compare=compare, gate=gate, markdown=markdown,
        plot=plot, strict=strict, board=board, command_line=output.command_line(),
    )  # fmt: skip
    with output.progress() as progress:
        result = bench.bench(chosen, progress, output.note)
    if result.run is None:
        return output.result({"ratios": result.ratios}, *_comparison(result.ratios or ()), error=result.error)
    before, reports, after = result.run.before, result.run.reports, result.run.after
    payload = {
        "machine": {"before": before, "after": after}, "throttled": result.throttled, "results": reports,
        "notes": result.notes,
    }  # fmt: skip
    shown = [*_machine(before), "", *_tables(reports), *layer_tables(reports)]
    if result.board is not None:
        payload["boards"], shown = [result.board], _board_lines(result.board)
    if result.ratios is not None:
        payload["ratios"] = result.ratios
        shown += ["", *_comparison(result.ratios)]
    if result.int8:
        payload["int8"] = result.int8
    return output.result(payload, *shown, *result.notes, *_int8_lines(result.int8), error=result.error)


def _machine(item: Any) -> list[str]:
    state = [
        f"{item.clock_mhz:,.0f} MHz" if item.clock_mhz else "clock unknown",
        f"governor {item.governor or 'unknown'}",
        f"{item.temperature_c:.0f} C" if item.temperature_c is not None else "temperature unknown",
        f"throttled {item.throttled}" if item.throttled else "throttle state unknown",
    ]
    board = f"{item.board}, " if item.board else ""
    return [
        f"{board}{item.processor}, {item.cores} cores, {item.architecture}; {item.system}, Python {item.python}",
        ", ".join(state),
    ]


def _board_lines(item: Any) -> list[Any]:
    """What a board took: its time if it was measured, its cycles and its stack."""
    shown = [f"{shown_path(Path(item.path))} on {item.board}: kernels {item.kernels}, {item.n:,} images"]
    if item.p50_us is not None:
        shown.append(f"Time of an image: {item.p50_us:,.1f} us (median), {item.min_us:,.1f} to {item.max_us:,.1f}")
    if item.p50_cycles is not None:
        clock = f", at {item.clock_hz / 1e6:g} MHz" if item.clock_hz else ""
        shown.append(f"Cycles: {item.p50_cycles:,} (median), {item.min_cycles:,} to {item.max_cycles:,}{clock}")
    return [*shown, "Stack: not measured" if item.stack_bytes is None else f"Stack: {item.stack_bytes:,} bytes"]


def _tables(reports: Sequence[Any]) -> list[Any]:
    """For each file a table of call times and one of starts and memory, 80 columns wide."""
    shown: list[Any] = []
    for path in dict.fromkeys(item.path for item in reports):
        rows = [item for item in reports if item.path == path]
        calls = table("", "engine", ">thr x n", ">p50 us", ">p90", ">p99", ">p99.9", ">min", ">IQR", ">images/s")
        whole = table("", "", ">start ms", ">import", ">load", ">first", ">peak MiB", "run by")
        for item in rows:
            figures = (item.p50_us, item.p90_us, item.p99_us, item.p99_9_us, item.min_us, item.iqr_us)
            calls.add_row(
                item.engine, f"{item.threads} x {item.batch}", *map(_short, figures), f"{item.images_per_s:,.0f}"
            )
            times = (item.start_ms, item.import_ms, item.load_ms, item.first_ms)
            whole.add_row(item.engine, *map(_short, times), f"{item.peak_rss_bytes / 2**20:.0f}", item.delegate)
        shown += [f"{shown_path(Path(path))}  {rows[0].size_bytes:,} bytes", calls, whole, ""]
    clock = max((item.clock_us for item in reports), default=0.0)
    return [
        *shown,
        "thr x n: threads, images per call. Start: a new process to its first answer.",
        f"Reading the clock costs {clock:.3f} us, which is in every figure.",
    ]


def _int8_lines(compared: Sequence[Any]) -> list[Any]:
    """If int8 is slower than float, why, with the longest ops; then one line for each model."""
    shown: list[Any] = []
    for item in compared:
        if item.ops:
            ops = table("", "int8 op", ">us", "float op", ">us")
            for left, right in itertools.zip_longest(item.ops[:OPS], item.float_ops[:OPS]):
                ops.add_row(*_op_cells(left), *_op_cells(right))
            shown += ["", ops]
        shown += [item.why] if item.why is not None else []
    return [*shown, *(item.sentence for item in compared)]


def _op_cells(item: Any | None) -> tuple[str, str]:
    return ("", "") if item is None else (f"{item.op} {item.node.split('/')[0]}"[:28], f"{item.us:.1f}")


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def _comparison(ratios: Sequence[Any]) -> list[Any]:
    """The table of a comparison, and why an interval is missing or limited."""
    shown = table("", "file", "engine", ">thr x n", ">before us", ">after", ">ratio", ">95 %")
    lines = []
    for item in ratios:
        interval = "none" if item.ratio_ci95 is None else f"{item.ratio_ci95[0]:.3f} {item.ratio_ci95[1]:.3f}"
        figures = (f"{item.before_us:.2f}", f"{item.after_us:.2f}", f"{item.ratio:.3f}")
        shown.add_row(item.files, item.engines, f"{item.threads} x {item.batch}", *figures, interval)
        if item.no_interval:
            lines.append(f"No interval for {item.files} on {item.engines}: {item.no_interval}.")
    if any(item.ratio_ci95 is not None and not item.paired for item in ratios):
        lines.append(
            "The intervals do not cover a change of the machine between the two runs; "
            "bench --compare of two model files measures both in turns."
        )
    return [shown, *lines]
