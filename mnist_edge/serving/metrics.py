"""Prometheus metrics (``/metrics``), and the per-model statistics of Triton's statistics extension."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
# Environment variable with the folder in which several server processes share their counts; prometheus_client reads it
# when it is imported.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def forget_process(pid: int) -> None:
    """Drop the gauges of a server process that has ended; its counters stay in the sums."""
    if SHARED_FOLDER in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


@dataclass
class Statistics:
    """Statistics of one model in one server process; ``last_success_ms`` is a Unix time in milliseconds."""

    images: int = 0
    batches: int = 0
    successes: int = 0
    failures: int = 0
    engine_ns: int = 0
    success_ns: int = 0
    failure_ns: int = 0
    last_success_ms: int = 0


@dataclass
class Metrics:
    """The metrics of one service, in a registry that no other service shares."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"registry": self.registry}
        summed: dict[str, Any] = {**common, "multiprocess_mode": "livesum"}
        self.requests = Counter("mnist_edge_requests", "Requests answered.", ["route", "status"], **common)
        self.latency = Histogram(
            "mnist_edge_request_seconds", "Time from the header to the response.", ["route"], buckets=_BUCKETS, **common
        )
        self.inference = Histogram(
            "mnist_edge_inference_seconds", "Time of one batch in the engine.", ["model"], buckets=_BUCKETS, **common
        )
        self.images = Counter("mnist_edge_images", "Images classified.", ["model"], **common)
        self.batches = Counter("mnist_edge_batches", "Batches classified.", ["model"], **common)
        self.queue = Gauge("mnist_edge_queue", "Requests in work and waiting.", **summed)
        self.connections = Gauge("mnist_edge_connections", "Open connections.", **summed)
        self.problem = Gauge(
            "mnist_edge_model_problem", "1: the newest file of a model is missing or was not accepted.", ["model"],
            **{**common, "multiprocess_mode": "livemax"},
        )  # fmt: skip
        self.restarts = Counter("mnist_edge_decoder_restarts", "Decoding processes that ended or were ended.", **common)
        self.lost_lines = Counter("mnist_edge_lost_log_lines", "Log lines that could not be written.", **common)
        self.statistics: dict[str, Statistics] = {}
        self.of_route = lru_cache(1000)(self._of_route)

    def _of_route(self, route: str, status: int | str) -> tuple[Counter, Histogram]:
        return self.requests.labels(route, str(status)), self.latency.labels(route)

    def observer(self, model: str) -> Callable[[int, float], None]:
        """A function that counts a batch of the model, given its number of images and the seconds in the engine."""
        inference = self.inference.labels(model)
        images, batches = self.images.labels(model), self.batches.labels(model)
        counted = self.statistics.setdefault(model, Statistics())

        def observe(count: int, seconds: float) -> None:
            inference.observe(seconds)
            images.inc(count)
            batches.inc()
            counted.images += count
            counted.batches += 1
            counted.engine_ns += round(1e9 * seconds)

        return observe

    def render(self) -> bytes:
        """The metrics in Prometheus's text format, summed over all server processes."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self.registry)
        summed = CollectorRegistry()
        MultiProcessCollector(summed)  # type: ignore[no-untyped-call]
        return generate_latest(summed)
