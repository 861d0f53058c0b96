"""What Prometheus reads at ``/metrics``, and the statistics of the Open Inference Protocol."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
# Where several server processes share their counts; prometheus_client reads it when it is imported.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def forget_process(pid: int) -> None:
    """Leave out what a server process that has ended had at that time; what it has counted stays."""
    if SHARED_FOLDER in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


@dataclass
class Statistics:
    """What one server process has done for one model: numbers, nanoseconds, and when (milliseconds since 1970)."""

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
    """The metrics of one service, in a registry of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"registry": self.registry}
        summed: dict[str, Any] = {**common, "multiprocess_mode": "livesum"}
        self.requests = Counter("mnist_edge_requests", "Requests answered.", ["route", "status"], **common)
        self.latency = Histogram(
            "mnist_edge_request_seconds", "From the header to the answer.", ["route"], buckets=_BUCKETS, **common
        )
        self.inference = Histogram(
            "mnist_edge_inference_seconds", "Of one batch in the engine.", ["model"], buckets=_BUCKETS, **common
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
        self.lost_lines = Counter("mnist_edge_lost_log_lines", "Lines that nobody took.", **common)
        self.statistics: dict[str, Statistics] = {}
        self.of_route = lru_cache(1000)(self._of_route)

    def _of_route(self, route: str, status: int | str) -> tuple[Counter, Histogram]:
        return self.requests.labels(route, str(status)), self.latency.labels(route)

    def observer(self, model: str) -> Callable[[int, float], None]:
        """What counts the batches of a model: call it with the number of images and the seconds in the engine."""
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
        """The text format; of all server processes, if there are several."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
