"""The state of a server process, and the reading and classifying of requests that all protocols share."""

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
from mnist_edge.serving.decoders import IsDisconnected, JobRunner
from mnist_edge.serving.decoding import Job, PictureJob, Pictures, ReadRequest
from mnist_edge.serving.limits import Budget, Limits, RequestRefusedError, busy
from mnist_edge.serving.log import Log
from mnist_edge.serving.loop_time import LoopTime
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import LoadedModel, Models
from mnist_edge.serving.requests import ImageRequest
from mnist_edge.vision.digit import Found


@dataclass(frozen=True)
class Picture:
    """A picture in which digits are to be found.

    Attributes:
        content: the picture file, or a multipart form whose first file is the picture.
        name: name of the picture in messages.
        form: the form's Content-Type; None if the content is the picture.
        multi: whether to return every digit in the picture.
        raw: whether the picture is only scaled, as one digit that fills it, and not searched for digits.
    """

    content: bytes
    name: str
    form: str | None = None
    multi: bool = False
    raw: bool = False


@dataclass
class Service:
    """The state of one server process.

    Attributes:
        models, limits, metrics, access, log: the parts of the service.
        decoders: runs the decoding jobs.
        threads: number of large batches of one model that may run at the same time.
        access_log: whether to log every request.
        secure: whether the service uses TLS.
        unsent_bytes: returns the bytes of responses that clients have not read yet.
        stopping: whether the process has begun to stop.
        budget: the memory that the bodies of all requests share.
        loop_time: limits the parsing of small bodies per iteration of the event loop.
    """

    models: Models
    limits: Limits
    metrics: Metrics
    decoders: JobRunner
    access: Access
    log: Log
    threads: int
    access_log: bool = False
    secure: bool = False
    unsent_bytes: Callable[[], int] = lambda: 0
    stopping: bool = field(default=False, init=False)
    budget: Budget = field(init=False)
    loop_time: LoopTime = field(default_factory=LoopTime, init=False)
    _accepted: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limits.all_body_bytes)

    def model(self, name: str | None, version: str | None = None) -> LoadedModel:
        """The model with this name, or the first model if the name is None or empty.

        Raises:
            RequestRefusedError: 404, there is no such model or version.
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
        """The reason why no request should be sent here now, or None."""
        if self.stopping:
            return "The service is stopping."
        if self.models.longest_seconds() > self.limits.work_seconds:
            return "The engine has been at work on one batch for too long."
        if not self.decoders.available():
            return "No process is left to decode pictures."
        return None

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Count a request as accepted until the block ends, and limit its time.

        Raises:
            RequestRefusedError: 503 the queue is full, 504 the request took too long.
        """
        if self._accepted >= self.threads + self.limits.waiting:
            raise busy("The queue is full.")
        self._accepted += 1
        self.metrics.queue.set(self._accepted)
        try:
            async with asyncio.timeout(self.limits.work_seconds):
                yield
        except TimeoutError:
            raise RequestRefusedError(504, f"No answer within {self.limits.work_seconds:g} s.") from None
        finally:
            self._accepted -= 1
            self.metrics.queue.set(self._accepted)

    async def read(self, content: bytes, now: Callable[[], ImageRequest], job: Callable[[], Job]) -> ImageRequest:
        """Read a body: a small one here, a large one in a decoding process.

        Args:
            content: the body.
            now: reads the body in this process.
            job: makes the job for a decoding process.

        Raises:
            RequestRefusedError: the body is not a request that the model accepts.
        """
        if len(content) <= self.limits.small_body_bytes:
            await self.loop_time.wait()
            return now()
        result = await self.decoders.run(job())
        assert isinstance(result, ReadRequest)
        return result.image_request

    async def classify(
        self, loaded: LoadedModel, image_request: ImageRequest, is_disconnected: IsDisconnected
    ) -> NDArray[np.float32]:
        """Probabilities of a request's images, float32, shape (n, classes).

        Raises:
            RequestRefusedError: a picture cannot be read or holds no digit, or the client has disconnected.
        """
        if not image_request.pictures:
            return await self.predict(loaded, image_request.images(loaded.grid), is_disconnected)
        images = []
        for at, content in enumerate(image_request.pictures):
            found = await self.find(loaded, Picture(content, f"picture {at}"), is_disconnected)
            if not found.found:
                raise RequestRefusedError(400, f"There is no digit in picture {at}: {found.reason}.")
            images.append(image_of(loaded, found.found[0].pixels))
        return await self.predict(loaded, np.stack(images), is_disconnected)

    async def find(self, loaded: LoadedModel, picture: Picture, is_disconnected: IsDisconnected) -> Pictures:
        """Find the digits in a picture, in a decoding process.

        Raises:
            RequestRefusedError: the picture cannot be read, or the client has disconnected.
        """
        grid = msgspec.structs.replace(loaded.grid, preprocessor="resize") if picture.raw else loaded.grid
        job = PictureJob(picture.content, picture.form, picture.name, grid, self.limits.pixels, picture.multi)
        result = await self.decoders.run(job, is_disconnected)
        assert isinstance(result, Pictures)
        return result

    async def predict(
        self, loaded: LoadedModel, images: NDArray[np.uint8], is_disconnected: IsDisconnected
    ) -> NDArray[np.float32]:
        """Classify images in batches, between which other requests are handled.

        Args:
            loaded: the model.
            images: uint8, shape (n, h, w) or (n, h, w, 3).
            is_disconnected: tells whether the client has disconnected.

        Returns:
            Probabilities, float32, shape (n, classes).

        Raises:
            RequestRefusedError: 500 a probability is NaN, 499 the client has disconnected.
        """
        parts = []
        for at in range(0, len(images), BATCH):
            if at and await is_disconnected():
                raise RequestRefusedError(499, "The client has left.")
            parts.append(await loaded.batcher.predict(images[at : at + BATCH]))
        answers = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if not np.isfinite(answers).all():
            raise RequestRefusedError(500, "The model answers with NaN.")
        return answers

    def count(self, loaded: LoadedModel, begun_ns: int, failed: bool) -> None:
        """Add a request to the statistics of its model; ``begun_ns`` is its start by `time.perf_counter_ns`."""
        counted = self.metrics.statistics[loaded.name]
        spent_ns = time.perf_counter_ns() - begun_ns
        if failed:
            counted.failures += 1
            counted.failure_ns += spent_ns
        else:
            counted.successes += 1
            counted.success_ns += spent_ns
            counted.last_success_ms = time.time_ns() // 1_000_000


def image_of(loaded: LoadedModel, pixels: bytes) -> NDArray[np.uint8]:
    """One image as an array, uint8, shape (h, w) or (h, w, 3)."""
    return np.frombuffer(pixels, np.uint8).reshape(loaded.grid.image_shape)


def found_in(loaded: LoadedModel, pictures: Pictures) -> list[Found]:
    """The digits that a decoding process found, as the preprocessor returns them."""
    return [Found(image_of(loaded, item.pixels), item.box, item.as_is, item.may_be_turned) for item in pictures.found]
