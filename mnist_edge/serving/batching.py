"""Images of several requests, classified together.

Small numbers of images are classified on the event loop: handing them to a thread takes longer than the work. All that
arrive in one turn of the loop share batches, so that batches grow with the load; nobody waits for others unless
``delay`` asks for it. More images, or a slow model, are classified in threads.
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

BATCH = 64
# The event loop answers nobody else while it classifies: this is how long it may.
LOOP_SECONDS = 0.005
Images = NDArray[np.uint8]
Answers = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Item:
    images: Images
    answers: asyncio.Future[Answers]


class Batcher:
    """The sessions of one model file. All methods but `_infer` run on the event loop."""

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
            sessions: of one file, at least two: the first for the event loop, one for each thread.
            executor: with a thread for each session but the first.
            on_loop: how many images the event loop may classify at a time (`images_on_loop`); 0: none.
            delay: seconds for which images may wait for others; 0: not at all.
            observe: is called for every batch with its number of images and the seconds in the engine.
        """
        self._own, self._idle = sessions[0], list(sessions[1:])
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
        """For how long the oldest batch has been in a thread; 0 if none is."""
        return time.monotonic() - min(self._started.values()) if self._started else 0.0

    def _flush(self) -> None:
        """Classify a batch here; if more waits, in the loop's next turn."""
        self._flush_at = None
        batch = _next_batch(self._small, self._on_loop)
        if batch:
            self._answer(batch, *_run(self._own, batch))
        if self._small:
            self._flush_at = asyncio.get_running_loop().call_soon(self._flush)

    def _start_threads(self) -> None:
        """Give sessions that are idle what waits for them."""
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
    """How many images a session classifies in `LOOP_SECONDS`, by the shortest of a few runs; at most `BATCH`."""
    image = np.zeros((1, *session.image_shape), np.uint8)
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        session.predict(image)
        taken.append(time.perf_counter() - begun)
    return min(BATCH, int(LOOP_SECONDS / max(min(taken), 1e-6)))


def _next_batch(waiting: deque[_Item], most: int) -> list[_Item]:
    """Take items of ``most`` images in all, or one larger item; leave out those whose request was cancelled."""
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
