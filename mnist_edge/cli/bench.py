"""``mnist-edge bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mnist_edge.cli import options
from mnist_edge.cli.output import Output, chosen_files, table
from mnist_edge.store.workspace import DEFAULT_WORKSPACE, shown_path

NAME = "bench"


def command(
    models: options.Models = None,
    model: options.OnlyModel = None,
    shipped_: options.Shipped = False,
    engine: options.Engine = "auto",
    threads: Annotated[list[int] | None, typer.Option("--threads", min=1, max=256, help="May be given often.")] = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", min=1, max=10_000, help="May be given often.")] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, max=600, help="At least so long per configuration.")
    ] = 1.0,
    count: Annotated[int, typer.Option("--count", min=1, help="At least so many calls per configuration.")] = 100,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Calls before that, which do not count.")] = 50,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=1000,
            help="New processes per configuration, which share its time and calls. Default: 7; 20 with --compare.",
        ),
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="With --json: every single call's time.")] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            help="Two model files: measure them now, in turns. Or two files of bench --json: measure nothing.",
        ),
    ] = None,
    gate: Annotated[float | None, typer.Option("--gate", help="With --compare: fail if a ratio is above this.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="With --compare: write the table.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="With --compare: write an SVG picture.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where the processor was throttled meanwhile.")] = False,
    workspace: options.Workspace = DEFAULT_WORKSPACE,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> int:
    """Latency, throughput, memory and start of a file on this machine, with what the engine was seen to run it with.

    Example: mnist-edge bench artifacts/cnn --threads 1 --threads 2
    """
    from mnist_edge.errors import GateError
    from mnist_edge.measure import latency_ratios
    from mnist_edge.measure.latency import BenchConfig
    from mnist_edge.measure.machine import was_throttled
    from mnist_edge.store.files import check_target
    from mnist_edge.workflows import bench

    output = Output(NAME, as_json, debug)
    for target in (markdown, plot):
        if target is not None:
            check_target(target)
    measured_now = compare is not None and bench.are_models(compare)
    if compare is not None and not measured_now:
        ratios = latency_ratios.compare(*map(bench.load_run, compare))
        error = _judged(ratios, gate, markdown, plot)
        return output.result({"ratios": ratios}, *_comparison(ratios), error=error)
    config = BenchConfig(
        "",
        seconds=seconds,
        count=count,
        warmup=warmup,
        processes=processes or (bench.PAIR_PROCESSES if measured_now else BenchConfig.processes),
        trust=trust,
        samples=samples and as_json,
    )
    asked = engine, threads or [1], batch or [1], config
    if compare is not None:
        with output.progress() as progress:
            (before, reports, after), ratios = bench.bench_pair(compare, *asked, progress)
    else:
        files, _ = chosen_files(output, models or [], workspace, model, engine, shipped_)
        with output.progress() as progress:
            before, reports, after = bench.bench(files, *asked, progress)
    throttled = was_throttled(before, after)
    notes = bench.slower_than_float(reports)
    if throttled:
        notes.append(f"The processor was throttled meanwhile ({before.throttled}, then {after.throttled}).")
    if before.load > before.cores / 2:
        notes.append(f"The machine was busy when this began: load {before.load:.1f} on {before.cores} cores.")
    payload = {
        "machine": {"before": before, "after": after},
        "throttled": throttled,
        "results": reports,
        "notes": notes,
    }
    shown = [*_machine(before), "", *_tables(reports)]
    error = None
    if compare is not None:
        error = _judged(ratios, gate, markdown, plot)
        payload["ratios"] = ratios
        shown += ["", *_comparison(ratios)]
    if throttled and strict:
        error = GateError("The processor was throttled during the run.", "Cool it, and give it a better power supply.")
    return output.result(payload, *shown, *notes, error=error)


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


def _tables(reports: Sequence[Any]) -> list[Any]:
    """For each file the calls and what is around them, in 80 columns."""
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
        "A call is threads x images. Start: a new process up to its first answer.",
        f"Reading the clock costs {clock:.3f} us, which is in every figure.",
    ]


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
            "The intervals do not contain a change of the machine between the two runs; "
            "bench --compare of two model files measures both in turns."
        )
    return [shown, *lines]


def _judged(ratios: Sequence[Any], gate: float | None, markdown: Path | None, plot: Path | None) -> Any:
    """Write what was asked for, and return the gate's error or None."""
    from mnist_edge.errors import GateError, UsageError
    from mnist_edge.workflows import bench

    if not ratios:
        raise UsageError(
            "The two sides have no configuration in common.", "Measure the same files, engines and threads."
        )
    bench.write_comparison(ratios, markdown, plot)
    worst = max(ratios, key=lambda item: item.ratio)
    if gate is None or worst.ratio <= gate:
        return None
    return GateError(
        f"{worst.files} on {worst.engines} takes {worst.ratio:.2f} times as long as before, more than {gate:g}.",
        "Find out what changed, or measure again on a quiet machine.",
    )
