"""The report of a campaign: the targets and whether each was met, then the responses to every client and attacker."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mnist_edge.measure.machine import described_processor, machine
from tests.campaigns.attacks.clients import ClientResults
from tests.campaigns.attacks.health import FAILED_MS, IDLE, Health
from tests.campaigns.attacks.processes import Memory
from tests.campaigns.attacks.wire import Ledger

# Targets: p99 of health checks, growth of memory, time from SIGTERM to the end.
HEALTH_MS, AFTERWARDS_MIB, TERM_SECONDS = 100.0, 20.0, 30.0
# Time between the end of the attack and the last measurement of memory.
REST_SECONDS = 20.0
NONE = Memory(0, 0)


@dataclass(frozen=True)
class Options:
    """Options of a campaign.

    Attributes:
        seconds: length of the attack.
        memory_mib: memory limit and target.
        descriptors: limit on the service's file descriptors; None for the system's.
        cgroup: whether to limit the memory by a cgroup.
        serve: further command-line options of `mnist-edge serve`.
        attackers: names of the attacks to run.
    """

    seconds: float
    memory_mib: int
    descriptors: int | None
    cgroup: bool
    serve: tuple[str, ...]
    attackers: tuple[str, ...]


@dataclass
class Facts:
    """Measurements of a campaign.

    Attributes:
        start, peak, afterwards: memory of the service.
        largest: peak resident memory of its largest process, in MiB.
        samples: number of memory samples.
        died: seconds after the start at which the service ended; None if it did not.
        reports: by name, the results of each attacker (`Ledger`), of the clients and of the health checks.
        sigterm_seconds: time from SIGTERM to the end; None if SIGTERM did not end the service.
        group_peak: peak memory of the cgroup in MiB; None without a cgroup.
        oom_kills: number of processes that the kernel killed because the memory limit was reached.
        each_at_start, each_afterwards: resident memory of each process, in MiB.
        log: last lines of the service's log.
    """

    start: Memory
    peak: Memory = NONE
    afterwards: Memory = NONE
    largest: float = 0.0
    samples: int = 0
    died: float | None = None
    reports: dict[str, Any] = field(default_factory=dict)
    sigterm_seconds: float | None = None
    group_peak: float | None = None
    oom_kills: int = 0
    each_at_start: list[str] = field(default_factory=list)
    each_afterwards: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


def report(options: Options, facts: Facts) -> tuple[list[str], bool]:
    """The report as lines of Markdown, and whether every target was met."""
    reports = facts.reports
    seen: ClientResults = reports.get("clients", ClientResults(lost=["the clients' process did not report"]))
    health: dict[str, Health] = reports.get("health", {"same connection": Health()})
    ledgers: dict[str, Ledger] = {name: reports[name] for name in options.attackers if name in reports}
    untyped = len(seen.untyped) + sum(ledger.untyped for ledger in ledgers.values())
    silent = [name for name in options.attackers if name not in ledgers]
    read = sum(count for ledger in ledgers.values() for what, count in ledger.counts.items() if "was read" in what)
    p99 = max(quantile(item.times, 0.99) for kind, item in health.items() if kind != IDLE)
    refused = sum(item.refused for kind, item in health.items() if kind != IDLE)
    growth = facts.afterwards.rss - facts.start.rss
    limit = options.memory_mib
    targets = [
        ("the service runs to the end", facts.died is None, lived(facts.died)),
        ("processes that the kernel ended for lack of memory: 0", facts.oom_kills == 0, str(facts.oom_kills)),
        ("every attacker ran and reported", not silent, ", ".join(silent) or "yes"),
        ("pictures of refused formats that were read: 0", read == 0, str(read)),
        ("untyped 5xx answers: 0", untyped == 0, str(untyped)),
        ("well-behaved requests lost other than by 503 or 429: 0", not seen.lost, str(len(seen.lost))),
        ("health answers other than 200: 0", refused == 0, str(refused)),
        (f"health p99 below {HEALTH_MS:g} ms", p99 < HEALTH_MS, f"{p99:.1f} ms"),
        (f"peak memory (PSS) at most {limit} MiB", facts.peak.pss <= limit, f"{facts.peak.pss:.0f} MiB"),
        (f"memory (RSS) afterwards within {AFTERWARDS_MIB:g} MiB of the start",
         growth <= AFTERWARDS_MIB, f"{growth:+.1f} MiB"),
        (f"SIGTERM ends it within {TERM_SECONDS:g} s", (facts.sigterm_seconds or 99) <= TERM_SECONDS,
         f"{facts.sigterm_seconds:.1f} s" if facts.sigterm_seconds else "not ended by it"),
    ]  # fmt: skip
    here = machine()
    words = [f"--seconds {options.seconds:g} --memory-mib {limit}"]
    words += [f"--descriptors {options.descriptors}"] if options.descriptors else []
    words += [] if options.cgroup else ["--no-cgroup"]
    words += ["--", *options.serve] if options.serve else []
    limited = "not limited"
    if facts.group_peak is not None:
        limited = f"limited to {limit} MiB by a cgroup (its peak, page cache included: {facts.group_peak:.0f} MiB)"
    lines = ["# The service under attack", "", "| target | measured | met |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {'yes' if met else '**no**'} |" for name, met, value in targets]
    lines += [
        "",
        f"`python -m tests.campaigns.service {' '.join(words)}`: {described_processor(here)}, {here.cores} cores "
        f"shared with clients and attackers, Python {here.python}.",
        "",
        f"Memory was {limited} and sampled {facts.samples:,} times. The service shares pages with the attackers' "
        "Python processes. PSS counts a part of each shared page, so it grows a little when they end; RSS counts each "
        "in full.",
        "",
        "| MiB | PSS of all processes | RSS of all processes |",
        "|---|---|---|",
        *(f"| {name} | {item.pss:.0f} | {item.rss:.0f} |" for name, item in (
            ("at the start", facts.start), ("peak", facts.peak),
            (f"{REST_SECONDS:g} s after the attack", facts.afterwards))),
        f"| largest process, peak | | {facts.largest:.0f} |",
        "", f"RSS of each process at the start: {', '.join(facts.each_at_start)}; afterwards: "
        f"{', '.join(facts.each_afterwards)}.",
        "", "| health endpoint | requests | p50 ms | p99 ms | slowest ms | not 200 | no answer |",
        "|---|---|---|---|---|---|---|",
        *(health_row(name, item) for name, item in health.items()),
        "", "| well-behaved client | requests | outcomes |", "|---|---|---|",
        *(f"| {kind} | {counts.total():,} | {outcomes(counts)} |" for kind, counts in seen.counts.items()),
        "", f"Response times of these clients: p50 {1e3 * quantile(seen.seconds, 0.5):.0f} ms, "
        f"p99 {1e3 * quantile(seen.seconds, 0.99):.0f} ms.",
        "", "| attacker | attempts | outcomes | untyped 5xx |", "|---|---|---|---|",
        *(attacker_row(name, ledgers.get(name)) for name in options.attackers),
    ]  # fmt: skip
    samples = [*seen.lost[:5], *seen.untyped[:5], *(text for ledger in ledgers.values() for text in ledger.samples)]
    if samples:
        lines += [
            "",
            "Examples of responses that should not occur:",
            "",
            *(f"- `{text[:200]}`" for text in samples[:20]),
        ]
    if facts.died is not None:
        lines += ["", "Last lines of the service's log:", "", *(f"    {line}" for line in facts.log)]
    return lines, all(met for _, met, _ in targets)


def lived(died: float | None) -> str:
    return "yes" if died is None else f"ended after {died:.0f} s"


def health_row(name: str, health: Health) -> str:
    p50, p99, slowest = (quantile(health.times, part) for part in (0.5, 0.99, 1))
    failed = sum(time >= FAILED_MS for time in health.times)
    return f"| {name} | {len(health.times):,} | {p50:.1f} | {p99:.1f} | {slowest:.1f} | {health.refused} | {failed} |"


def attacker_row(name: str, ledger: Ledger | None) -> str:
    if ledger is None:
        return f"| {name} | | did not report in time | |"
    counts = Counter(ledger.counts)
    attempts = counts.pop("attempts", 0)
    return f"| {name} | {attempts:,} | {outcomes(counts)} | {ledger.untyped} |"


def outcomes(counts: Counter[str]) -> str:
    return ", ".join(f"{what}: {count:,}" for what, count in sorted(counts.items()))


def quantile(values: list[float], part: float) -> float:
    """The quantile of the values at ``part``, from 0 to 1; infinite if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("inf")
