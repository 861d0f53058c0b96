"""What the routes share: the models, their workers, the limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from mnist_edge.runtime.session import Session
from mnist_edge.serving.http import Clock, Limits, RefusedError, Workers
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import Loaded, Models
from mnist_edge.serving.tensors import probabilities

T = TypeVar("T")


@dataclass
class Service:
    """One running service."""

    models: Models
    limits: Limits
    metrics: Metrics
    workers: Workers
    token: str | None = None
    access_log: bool = False
    stopping: bool = field(default=False, init=False)

    def model(self, request: Request) -> Loaded:
        """The model that the path names, or the first.

        Raises:
            RefusedError: 404.
        """
        name = request.path_params.get("model") or request.query_params.get("model") or self.models.names()[0]
        loaded = self.models.get(name)
        if loaded is None:
            raise RefusedError(404, f"There is no model {name[:40]!r}; there are {', '.join(self.models.names())}.")
        version = request.path_params.get("version")
        if version is not None and version != str(loaded.version):
            raise RefusedError(404, f"Version {loaded.version} of {name} is serving, not {version[:40]}.")
        return loaded

    async def work(self, loaded: Loaded, work: Callable[[Session], T]) -> T:
        """Do all of a request's work in a worker: reading JSON of some megabytes would hold up the event loop too.

        Raises:
            RefusedError: 503, 504, and what the work raises.
        """
        return await self.workers.run(lambda: loaded.run(work))

    def infer(self, loaded: Loaded, session: Session, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify and count.

        Raises:
            RefusedError: 500, the model answers with NaN.
        """
        clock = Clock()
        answers = probabilities(session, images)
        self.observe(loaded, len(images), clock())
        return answers

    def observe(self, loaded: Loaded, images: int, microseconds: float) -> float:
        """Count an inference."""
        self.metrics.inference.labels(loaded.name).observe(microseconds / 1e6)
        self.metrics.images.labels(loaded.name).inc(images)
        return microseconds
