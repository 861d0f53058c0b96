"""Dynamic batching: images of several requests are classified in one call of the engine.

A small number of images is classified on the event loop, because passing them to a thread takes longer than classifying
them. Images that arrive in the same iteration of the loop share a batch, so that batches grow with the load; no image
waits for later ones unless ``delay`` is set. More images, or any image of a slow model, are classified in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.runtime.session import Session

# Largest number of images in a batch.
BATCH = 64
# Longest time that the event loop may classify at a stretch; it serves no other request meanwhile.
LOOP_SECONDS = 0.005
Images = NDArray[np.uint8]
Answers = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Item:
    images: Images
    answers: asyncio.Future[Answers]


class Batcher:
    """Batches and classifies the images of one model file. All methods except `_infer` run on the event loop."""

    def __init__(
        self,
        sessions: Sequence[Session],
        executor: Executor,
        on_loop: int,
        delay: float,
        observe: Callable[[int, float], None],
    ) -> None:
        """Prepare to classify.

        Args:
            sessions: at least two sessions of the same file: the first for the event loop, then one for each thread.
            executor: a pool with a thread for each session except the first.
            on_loop: largest batch of the event loop (`images_on_loop`), in images; 0 if all go to threads.
            delay: seconds for which an image may wait for others to share its batch.
            observe: called for every batch with its number of images and the seconds in the engine.
        """
        self._loop_session, self._idle = sessions[0], list(sessions[1:])
        self._executor, self._on_loop, self._delay, self._observe = executor, on_loop, delay, observe
        self._small: deque[_Item] = deque()
        self._large: deque[_Item] = deque()
        self._flush_at: asyncio.Handle | None = None
        self._started: dict[Session, float] = {}

    async def predict(self, images: Images) -> Answers:
        """Classify images, uint8 (n, h, w), n at most `BATCH`.

        Returns:
            float32, shape (n, classes).
        """
        loop = asyncio.get_running_loop()
        item = _Item(images, loop.create_future())
        if len(images) > self._on_loop:
            self._large.append(item)
            self._start_threads()
        else:
            self._small.append(item)
            if self._flush_at is None:
                self._flush_at = (
                    loop.call_later(self._delay, self._flush) if self._delay else loop.call_soon(self._flush)
                )
            elif self._delay and sum(len(waiting.images) for waiting in self._small) >= self._on_loop:
                self._flush_at.cancel()
                self._flush_at = loop.call_soon(self._flush)
        return await item.answers

    def longest_seconds(self) -> float:
        """Seconds for which the oldest running batch has been in a thread; 0 if there is none."""
        return time.monotonic() - min(self._started.values()) if self._started else 0.0

    def _flush(self) -> None:
        """Classify one batch on the event loop; leave the rest to the loop's next iteration."""
        self._flush_at = None
        batch = _next_batch(self._small, self._on_loop)
        if batch:
            self._answer(batch, *_run(self._loop_session, batch))
        if self._small:
            self._flush_at = asyncio.get_running_loop().call_soon(self._flush)

    def _start_threads(self) -> None:
        """Start waiting batches on idle sessions."""
        loop = asyncio.get_running_loop()
        while self._idle and (batch := _next_batch(self._large, BATCH)):
            session = self._idle.pop()
            self._started[session] = time.monotonic()
            self._executor.submit(self._infer, loop, session, batch)

    def _infer(self, loop: asyncio.AbstractEventLoop, session: Session, batch: list[_Item]) -> None:
        result, seconds = _run(session, batch)
        loop.call_soon_threadsafe(self._finish, session, batch, result, seconds)

    def _finish(self, session: Session, batch: list[_Item], result: Answers | Exception, seconds: float) -> None:
        del self._started[session]
        self._idle.append(session)
        self._start_threads()
        self._answer(batch, result, seconds)

    def _answer(self, batch: list[_Item], result: Answers | Exception, seconds: float) -> None:
        at = 0
        for item in batch:
            if not item.answers.done():
                if isinstance(result, Exception):
                    item.answers.set_exception(result)
                else:
                    item.answers.set_result(result[at : at + len(item.images)])
            at += len(item.images)
        self._observe(at, seconds)


def images_on_loop(session: Session) -> int:
    """How many images a session classifies in `LOOP_SECONDS`, by the fastest of five runs; at most `BATCH`."""
    image = np.zeros((1, *session.image_shape), np.uint8)
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        session.predict(image)
        taken.append(time.perf_counter() - begun)
    return min(BATCH, int(LOOP_SECONDS / max(min(taken), 1e-6)))


def _next_batch(waiting: deque[_Item], most: int) -> list[_Item]:
    """Take items with at most ``most`` images in total, or one larger item; drop items of cancelled requests."""
    batch: list[_Item] = []
    count = 0
    while waiting and (not batch or count + len(waiting[0].images) <= most):
        item = waiting.popleft()
        if not item.answers.done():
            batch.append(item)
            count += len(item.images)
    return batch


def _run(session: Session, batch: list[_Item]) -> tuple[Answers | Exception, float]:
    begun = time.perf_counter()
    try:
        images = batch[0].images if len(batch) == 1 else np.concatenate([item.images for item in batch])
        return session.predict(images), time.perf_counter() - begun
    except Exception as error:
        return error, time.perf_counter() - begun
