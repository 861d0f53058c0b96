"""Plots of experiments and measurements as SVG, by matplotlib, in colours for light and dark pages."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mnist_edge.errors import missing_extra
from mnist_edge.results import FoldResult, Ratio

GREY, BLUE, ORANGE = "#7d8590", "#2f81f7", "#d4761a"


def curves(history: Sequence[dict[str, float]]) -> str:
    """Loss and error rate by epoch, for training and, in the epochs that have one, for validation."""
    ticker = _import("matplotlib.ticker")
    with figure(1, 2, (9, 3.2)) as (axes, svg):
        for axis, name, title in ((axes[0], "loss", "loss"), (axes[1], "accuracy", "error, %")):
            for prefix, colour, label in (("", BLUE, "training"), ("val_", ORANGE, "validation")):
                rows = [(at + 1, row[prefix + name]) for at, row in enumerate(history) if prefix + name in row]
                values = [value if name == "loss" else 100 * (1 - value) for _, value in rows]
                axis.plot([at for at, _ in rows], values, color=colour, label=label, marker="." * (len(rows) < 40))
            axis.set_xlabel("epoch")
            axis.set_title(title, color=GREY)
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("")
            axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
            axis.legend(frameon=False, labelcolor=GREY)
    return svg()


def folds(rows: Sequence[FoldResult], pooled: tuple[float, float, float]) -> str:
    """Accuracy of each fold with its interval, and behind them the pooled accuracy with its interval.

    Args:
        rows: results of the folds.
        pooled: accuracy and both ends of its 95 % interval, as fractions.
    """
    with figure(1, 1, (8, 3.2)) as (axes, svg):
        axis = axes[0]
        centre, low, high = (100 * value for value in pooled)
        axis.axhspan(low, high, color=BLUE, alpha=0.15, label="pooled, 95 %")
        axis.axhline(centre, color=BLUE)
        for at, row in enumerate(rows):
            value = 100 * row.accuracy
            bars = [[value - 100 * row.accuracy_ci95[0]], [100 * row.accuracy_ci95[1] - value]]
            axis.errorbar([at], [value], bars, fmt="o", color=ORANGE, capsize=3)
        axis.set_xticks(range(len(rows)), [f"seed {row.seed}\nfold {row.fold + 1}" for row in rows], fontsize=7)
        axis.set_ylabel("accuracy, %")
        axis.legend(frameon=False, labelcolor=GREY)
    return svg()


def ratios(rows: Sequence[Ratio]) -> str:
    """Ratios of the latencies of two runs: a row for each configuration, with an interval if there is one."""
    with figure(1, 1, (8, 0.9 + 0.32 * len(rows))) as (axes, svg):
        axis = axes[0]
        axis.axvline(1, color=GREY)
        for at, row in enumerate(rows):
            low, high = row.ratio_ci95 or (row.ratio, row.ratio)
            bars = [[row.ratio - low], [high - row.ratio]]
            axis.errorbar([row.ratio], [at], xerr=bars, fmt="o", color=ORANGE if low > 1 else BLUE, capsize=3)
        labels = [f"{row.files}, {row.engines}, {row.threads} x {row.batch}" for row in rows]
        axis.set_yticks(range(len(rows)), labels, fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel("time after / time before, with 95 % interval: left of 1 is faster")
    return svg()


def study(study_: Any, has_importance: bool) -> dict[str, str]:
    """Optuna's plots of a study, by name: ``history``, and ``importance`` of the parameters if it is known."""
    import warnings

    optuna_plots = _import("optuna.visualization.matplotlib")
    plots = {"history": optuna_plots.plot_optimization_history}
    if has_importance:
        plots["importance"] = optuna_plots.plot_param_importances
    rendered = {}
    for name, draw in plots.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna warns that its plots are experimental
            drawn = draw(study_, target_name="validation accuracy").figure
        drawn.set_size_inches(8, 4)
        rendered[name] = _svg(drawn)
        _import("matplotlib.pyplot").close(drawn)  # Optuna uses pyplot, which keeps figures that are not closed
    return rendered


@contextlib.contextmanager
def figure(rows: int, columns: int, inches: tuple[float, float]) -> Iterator[tuple[list[Any], Callable[[], str]]]:
    """Axes in grey on a transparent background, and a function that returns the figure as SVG."""
    whole = _import("matplotlib.figure").Figure(figsize=inches, layout="constrained")
    axes = whole.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.tick_params(which="both", colors=GREY)
        axis.xaxis.label.set_color(GREY)
        axis.yaxis.label.set_color(GREY)
        for spine in axis.spines.values():
            spine.set_color(GREY)
        axis.grid(color=GREY, alpha=0.2)
    whole.patch.set_alpha(0)
    yield axes, lambda: _svg(whole)


def _svg(drawn: Any) -> str:
    stream = io.StringIO()
    drawn.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = stream.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing_extra(name.split(".", maxsplit=1)[0], "train") from error
