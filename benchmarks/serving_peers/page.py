"""The page of results: targets, a table for each case, and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from load import Load

from mnist_edge.measure.machine import described_processor, machine
from serving_peers import OURS, STARLETTE

INFER, DIGITS = "/v2/models/cnn/infer", "/v1/digits"
GRPC, CLIENT = "grpc", "kserve-client"
# Case: title, path, images in a request, connections.
CASES = {
    "json-1-8": ("V2 JSON, one image, 8 connections", INFER, 1, 8),
    "json-1-64": ("V2 JSON, one image, 64 connections", INFER, 1, 64),
    "json-64-8": ("V2 JSON, 64 images, 8 connections", INFER, 64, 8),
    "binary-64-8": ("V2 binary, 64 images, 8 connections", INFER, 64, 8),
    "drawings": ("Drawings, PNG of 280 x 280, 8 connections", DIGITS, 1, 8),
}
DRAWINGS_A_SECOND = 300
HEAVIER = ("KServe", "MLServer", "LitServe")


@dataclass
class Results:
    """Results of all servers.

    Attributes:
        loads: by case and server, in the order of the rounds.
        memory: by server, in MiB: at rest, and after the load.
        versions: by server, as text.
        notes: about what was not measured.
    """

    loads: dict[str, dict[str, list[Load]]] = field(default_factory=dict)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def ratios(self, case: str, server: str) -> list[float]:
        """Requests per second divided by those of bare Starlette in the same round."""
        loads = self.loads[case]
        return [mine.rate / max(its.rate, 1e-9) for mine, its in zip(loads[server], loads[STARLETTE], strict=True)]

    def tail(self, case: str, server: str) -> float:
        """Median of p99 / p50."""
        return median(one.tail for one in self.loads[case][server])

    def has(self, case: str, *servers: str) -> bool:
        """Whether all of the given servers were measured in a case."""
        return bool(self.loads.get(case)) and all(self.loads[case].get(server) for server in servers)


def page(results: Results, command: str) -> list[str]:
    """Results as Markdown.

    Args:
        results: of all cases.
        command: the command line that made them.
    """
    here = machine()
    lines = ["# The service under load, next to its peers", "", "| target | measured | met |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {'yes' if met else '**no**'} |" for name, value, met in targets(results)]
    for case, (title, _, _, _) in CASES.items():
        if results.has(case):
            lines += ["", *table(title, results, case)]
    if results.has(GRPC, "gRPC"):
        lines += ["", *grpc_table(results.loads[GRPC])]
    lines += ["", "| memory (PSS of all processes), MiB | at rest | after the load |", "|---|---|---|"]
    lines += [f"| {name} | {rest:.0f} | {after:.0f} |" for name, (rest, after) in results.memory.items()]
    lines += ["", *(f"{note}\n" for note in results.notes)]
    lines += [
        f"`{command}`: {described_processor(here)}, {here.cores} cores shared by the servers and the load generators, "
        f"Python {here.python}. Medians of interleaved rounds on loopback (of ratios also the lowest and the "
        "highest); failed: answers that are not 2xx and broken connections. "
        + "; ".join(f"{name}: {text}" if name == OURS else text for name, text in results.versions.items()) + ".",
    ]  # fmt: skip
    return lines


def targets(results: Results) -> list[tuple[str, str, bool]]:
    """Targets that were measured: description, figure, and whether it is met."""
    found = []
    for case, least in (("json-1-8", 0.9), ("json-1-64", 0.9), ("binary-64-8", 1.0)):
        if results.has(case, OURS, STARLETTE):
            ratio = median(results.ratios(case, OURS))
            found.append((f"{CASES[case][0]}: at least {least} of Starlette", f"{ratio:.2f}", ratio >= least))
    if results.has("json-64-8", OURS, "MLServer"):
        ours, its = (median(one.rate for one in results.loads["json-64-8"][name]) for name in (OURS, "MLServer"))
        found.append(("V2 JSON, 64 images: above MLServer", f"{ours:,.0f} against {its:,.0f} requests/s", ours > its))
    if results.has("drawings", OURS):
        rate = median(one.rate for one in results.loads["drawings"][OURS])
        found.append((f"drawings: at least {DRAWINGS_A_SECOND} requests/s", f"{rate:,.0f}", rate >= DRAWINGS_A_SECOND))
    for case in ("json-1-8", "json-1-64"):
        if results.has(case, OURS, STARLETTE):
            ours, its = results.tail(case, OURS), results.tail(case, STARLETTE)
            name = f"{CASES[case][0]}: p99 / p50 no worse than Starlette's"
            found.append((name, f"{ours:.1f} against {its:.1f}", ours <= its))
    for name in HEAVIER:
        if name in results.memory and OURS in results.memory:
            ours, its = results.memory[OURS][1], results.memory[name][1]
            found.append((f"memory after the load below {name}'s", f"{ours:.0f} against {its:.0f} MiB", ours < its))
    return found


def table(title: str, results: Results, case: str) -> list[str]:
    """Table of one case."""
    compared = results.has(case, STARLETTE)
    lines = [
        f"| {title} | requests/s | times Starlette | p50 ms | p99 ms | p99 / p50 | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, loads in results.loads[case].items():
        ratios = spread(results.ratios(case, name)) if compared else ""
        lines.append(f"| {name} | {cells(loads, ratios)} |")
    return lines


def grpc_table(taken: dict[str, list[Load]]) -> list[str]:
    """Table that compares gRPC with REST."""
    lines = [
        "| One image by h2load, 8 connections | requests/s | times REST | p50 ms | p99 ms | p99 / p50 | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, loads in taken.items():
        ratios = spread([mine.rate / its.rate for mine, its in zip(loads, taken["REST"], strict=True)])
        lines.append(f"| {name} | {cells(loads, ratios)} |")
    return lines


def cells(loads: Sequence[Load], ratios: str) -> str:
    """Cells of a row: medians of one server's rounds."""
    rate, p50 = median(one.rate for one in loads), median(one.p50_ms for one in loads)
    p99 = median(one.p99_ms for one in loads)
    tail = median(one.tail for one in loads)
    return f"{rate:,.0f} | {ratios} | {p50:.2f} | {p99:.2f} | {tail:.1f} | {sum(one.failed for one in loads)}"


def spread(ratios: Sequence[float]) -> str:
    """Text of the median, with the lowest and the highest value."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
