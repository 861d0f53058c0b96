"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """Of one service; its own registry, so that two in one process do not meet."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "mnist_edge_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self.latency = Histogram(
            "mnist_edge_request_seconds", "From the first byte to the answer.", ["route"], buckets=_BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        self.inference = Histogram(
            "mnist_edge_inference_seconds", "In the engine.", ["model"], buckets=_BUCKETS, registry=self._registry
        )
        self.images = Counter("mnist_edge_images", "Images classified.", ["model"], registry=self._registry)
        self.queue = Gauge("mnist_edge_queue", "Requests in work and waiting.", registry=self._registry)

    def render(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)
