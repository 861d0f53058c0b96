"""Images of several requests, classified together in threads.

A request is started at once if a session is idle. Those that come while all sessions work are collected, and the next
session that is free takes as many of them as fit into a batch: batches grow with the load, and nobody waits for company
unless ``batch_seconds`` asks for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from mnist_edge.runtime.session import Session

BATCH = 64
Images = NDArray[np.uint8]
Answers = NDArray[np.float32]
_Item = tuple[Images, "asyncio.Future[Answers]"]


class Batcher:
    """The sessions of one model file. All methods but `_infer` run on the event loop."""

    def __init__(
        self, sessions: Sequence[Session], executor: Executor, delay: float, observe: Callable[[int, float], None]
    ) -> None:
        """Prepare to classify.

        Args:
            sessions: of one file; one is used by one thread at a time.
            executor: with a thread for each session.
            delay: seconds for which the first image of a batch may wait for others; 0: not at all.
            observe: is told of every batch: how many images, and the seconds in the engine.
        """
        self._idle, self._executor, self._delay, self._observe = list(sessions), executor, delay, observe
        self._pending: deque[_Item] = deque()
        self._started: dict[Session, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def predict(self, images: Images) -> Answers:
        """Classify images, uint8 (n, h, w), n at most `BATCH`.

        Returns:
            float32, shape (n, classes).
        """
        future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._pending.append((images, future))
        waiting = sum(len(item[0]) for item in self._pending) if self._delay else BATCH
        if waiting >= BATCH:
            self._start()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._start)
        return await future

    def longest_seconds(self) -> float:
        """For how long the oldest batch has been in an engine; 0 if none is."""
        return time.monotonic() - min(self._started.values()) if self._started else 0.0

    def _start(self) -> None:
        """Give idle sessions what is pending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._idle and (batch := self._next_batch()):
            session = self._idle.pop()
            self._started[session] = time.monotonic()
            self._executor.submit(self._infer, loop, session, batch)

    def _next_batch(self) -> list[_Item]:
        batch: list[_Item] = []
        count = 0
        while self._pending and (not batch or count + len(self._pending[0][0]) <= BATCH):
            item = self._pending.popleft()
            if not item[1].done():  # the request was cancelled while it waited
                batch.append(item)
                count += len(item[0])
        return batch

    def _infer(self, loop: asyncio.AbstractEventLoop, session: Session, batch: list[_Item]) -> None:
        begun = time.perf_counter()
        result: Answers | Exception
        try:
            result = session.predict(batch[0][0] if len(batch) == 1 else np.concatenate([item[0] for item in batch]))
        except Exception as error:
            result = error
        loop.call_soon_threadsafe(self._finish, session, batch, result, time.perf_counter() - begun)

    def _finish(self, session: Session, batch: list[_Item], result: Answers | Exception, seconds: float) -> None:
        del self._started[session]
        self._idle.append(session)
        self._start()
        self._observe(sum(len(images) for images, _ in batch), seconds)
        at = 0
        for images, future in batch:
            if not future.done():
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result[at : at + len(images)])
            at += len(images)
