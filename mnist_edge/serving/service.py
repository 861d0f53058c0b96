"""What the protocols share: the models, the limits, and how the images of a request are read and classified."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnist_edge.serving.access import Access
from mnist_edge.serving.batching import BATCH
from mnist_edge.serving.decoders import Decoding, Gone
from mnist_edge.serving.decoding import Job, PictureJob, Pictures, ReadRequest
from mnist_edge.serving.limits import Budget, Limits, RequestRefusedError, busy
from mnist_edge.serving.log import Log
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import Loaded, Models
from mnist_edge.serving.requests import ImageRequest
from mnist_edge.serving.turns import Turns
from mnist_edge.vision.digit import Found


@dataclass
class Service:
    """One server process's state."""

    models: Models
    limits: Limits
    metrics: Metrics
    decoders: Decoding
    access: Access
    log: Log
    threads: int
    access_log: bool = False
    secure: bool = False
    unsent_bytes: Callable[[], int] = lambda: 0
    stopping: bool = field(default=False, init=False)
    budget: Budget = field(init=False)
    turns: Turns = field(default_factory=Turns, init=False)
    _taken: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits.all_body_bytes)

    def model(self, name: str | None, version: str | None = None) -> Loaded:
        """The model of that name, or the first.

        Raises:
            RequestRefusedError: 404.
        """
        name = name or self.models.names()[0]
        loaded = self.models.get(name)
        if loaded is None:
            raise RequestRefusedError(
                404, f"There is no model {name[:40]!r}; there are {', '.join(self.models.names())}."
            )
        if version and version != str(loaded.version):
            raise RequestRefusedError(404, f"Version {loaded.version} of {name} is serving, not {version[:40]!r}.")
        return loaded

    def why_not_ready(self) -> str | None:
        """Why no request should be sent here now; None if requests are welcome."""
        if self.stopping:
            return "The service is stopping."
        if self.models.longest_seconds() > self.limits.work_seconds:
            return "The engine has been at work on one batch for too long."
        if not self.decoders.available():
            return "No process is left to decode pictures."
        return None

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Count a request as in work, and limit its time.

        Raises:
            RequestRefusedError: 503 the queue is full, 504 it took too long.
        """
        if self._taken >= self.threads + self.limits.waiting:
            raise busy("The queue is full.")
        self._taken += 1
        self.metrics.queue.set(self._taken)
        try:
            async with asyncio.timeout(self.limits.work_seconds):
                yield
        except TimeoutError:
            raise RequestRefusedError(504, f"No answer within {self.limits.work_seconds:g} s.") from None
        finally:
            self._taken -= 1
            self.metrics.queue.set(self._taken)

    async def read(self, content: bytes, now: Callable[[], ImageRequest], job: Callable[[], Job]) -> ImageRequest:
        """The request in a body: a small one is read at once, a large one by a decoder.

        Raises:
            RequestRefusedError: the body does not fit.
        """
        if len(content) <= self.limits.small_body_bytes:
            await self.turns.wait()
            return now()
        result = await self.decoders.run(job())
        assert isinstance(result, ReadRequest)
        return result.asked

    async def classify(self, loaded: Loaded, asked: ImageRequest, gone: Gone) -> NDArray[np.float32]:
        """Probabilities of a request's images, float32 (n, classes).

        Raises:
            RequestRefusedError: a picture cannot be read or holds no digit, or the client has left.
        """
        if not asked.pictures:
            return await self.predict(loaded, asked.images(loaded.grid), gone)
        images = []
        for at, content in enumerate(asked.pictures):
            found = await self.find(loaded, content, f"picture {at}", gone)
            if not found.found:
                raise RequestRefusedError(400, f"There is no digit in picture {at}: {found.reason}.")
            images.append(image_of(loaded, found.found[0].pixels))
        return await self.predict(loaded, np.stack(images), gone)

    async def find(
        self,
        loaded: Loaded,
        content: bytes,
        name: str,
        gone: Gone,
        *,
        form: str | None = None,
        multi: bool = False,
        raw: bool = False,
    ) -> Pictures:
        """What a decoder finds in a picture.

        Raises:
            RequestRefusedError: it cannot be read.
        """
        grid = msgspec.structs.replace(loaded.grid, preprocessor="resize") if raw else loaded.grid
        job = PictureJob(content, form, name, grid, self.limits.pixels, multi)
        result = await self.decoders.run(job, gone)
        assert isinstance(result, Pictures)
        return result

    async def predict(self, loaded: Loaded, images: NDArray[np.uint8], gone: Gone) -> NDArray[np.float32]:
        """Probabilities of images, uint8 (n, h, w), in batches; other requests have their turn between two.

        Raises:
            RequestRefusedError: 500 the model answers with NaN, or the client has left.
        """
        parts = []
        for at in range(0, len(images), BATCH):
            if at and await gone():
                raise RequestRefusedError(499, "The client has left.")
            parts.append(await loaded.batcher.predict(images[at : at + BATCH]))
        answers = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if not np.isfinite(answers).all():
            raise RequestRefusedError(500, "The model answers with NaN.")
        return answers

    def count(self, loaded: Loaded, begun_ns: int, failed: bool) -> None:
        """Enter a request into the statistics of its model."""
        counted = self.metrics.statistics[loaded.name]
        spent_ns = time.perf_counter_ns() - begun_ns
        if failed:
            counted.failures += 1
            counted.failure_ns += spent_ns
        else:
            counted.successes += 1
            counted.success_ns += spent_ns
            counted.last_success_ms = time.time_ns() // 1_000_000


def image_of(loaded: Loaded, pixels: bytes) -> NDArray[np.uint8]:
    """Pixels as uint8 (h, w)."""
    return np.frombuffer(pixels, np.uint8).reshape(loaded.grid.height, loaded.grid.width)


def found_in(loaded: Loaded, pictures: Pictures) -> list[Found]:
    """What a decoder found, as the preprocessor returns it."""
    return [Found(image_of(loaded, item.pixels), item.box, item.as_is, item.may_be_turned) for item in pictures.found]
