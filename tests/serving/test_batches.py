"""Dynamic batching: each request gets its own answers, and no request waits without need."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest

from mnist_edge.runtime.session import Session
from mnist_edge.serving.batching import BATCH, LOOP_SECONDS, Batcher, images_on_loop


class Engine:
    """A substitute for a session: its output for an image is the first pixel, after a time that a test sets."""

    image_shape = (2, 2)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[int] = []
        self.counted: list[int] = []
        self.threads: set[str] = set()

    def observed(self, count: int, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append(count)

    def predict(self, images: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds * len(images))
        self.batches.append(len(images))
        self.threads.add(threading.current_thread().name)
        if (images == 255).all():
            raise ValueError("an engine's error")
        return images[:, 0, :1].astype(np.float32)


def image(value: int, count: int = 1) -> np.ndarray:
    return np.full((count, 2, 2), value, np.uint8)


def batcher(engine: Engine, pool: ThreadPoolExecutor, on_loop: int = BATCH, delay: float = 0.0) -> Batcher:
    return Batcher(cast(list[Session], [engine, engine]), pool, on_loop, delay, engine.observed)


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(1, "inference") as made:
        yield made


def test_small_requests_of_one_iteration_share_a_batch_on_the_event_loop(pool: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        made = batcher(engine, pool)
        answers = await asyncio.gather(*(made.predict(image(value)) for value in range(10)))
        assert [float(answer[0, 0]) for answer in answers] == list(range(10))
        assert len(await made.predict(image(1))) == 1

    asyncio.run(main())
    assert engine.batches == engine.counted == [10, 1]
    assert engine.threads == {threading.main_thread().name}


def test_many_images_and_slow_models_are_classified_in_threads(pool: ThreadPoolExecutor) -> None:
    engine = Engine(0.02)

    async def main() -> None:
        made = batcher(engine, pool, on_loop=0)
        first = asyncio.create_task(made.predict(image(1)))
        await asyncio.sleep(0)
        assert not first.done()
        rest = [asyncio.create_task(made.predict(image(value))) for value in (2, 3, 4)]
        await asyncio.sleep(0.01)
        assert made.longest_seconds() > 0
        assert [float((await task)[0, 0]) for task in (first, *rest)] == [1, 2, 3, 4]
        assert made.longest_seconds() == 0

    asyncio.run(main())
    assert engine.batches == [1, 3]  # the images that arrived during the first batch share the second
    assert all(name.startswith("inference") for name in engine.threads)


def test_no_batch_has_more_images_than_the_maximum(pool: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        made = batcher(engine, pool)
        await asyncio.gather(*(made.predict(image(value % 200)) for value in range(2 * BATCH + 5)))

    asyncio.run(main())
    assert engine.batches == [BATCH, BATCH, 5]


def test_a_delay_collects_requests_and_ends_when_a_batch_is_full(pool: ThreadPoolExecutor) -> None:
    engine = Engine()

    async def main() -> None:
        made = batcher(engine, pool, delay=0.05)
        early = asyncio.create_task(made.predict(image(1)))
        await asyncio.sleep(0.001)
        await asyncio.gather(early, made.predict(image(2)))
        long = batcher(engine, pool, delay=600.0)
        await asyncio.gather(*(long.predict(image(1)) for _ in range(BATCH)))

    asyncio.run(asyncio.wait_for(main(), 60))
    assert engine.batches == [2, BATCH]


def test_a_cancelled_request_is_not_classified_and_an_error_reaches_only_its_own_batch(
    pool: ThreadPoolExecutor,
) -> None:
    engine = Engine()

    async def main() -> None:
        made = batcher(engine, pool)
        left = asyncio.create_task(made.predict(image(7)))
        stays = asyncio.create_task(made.predict(image(8)))
        await asyncio.sleep(0)
        left.cancel()
        assert float((await stays)[0, 0]) == 8
        with pytest.raises(ValueError, match="an engine's error"):
            await made.predict(image(255))
        assert float((await made.predict(image(9)))[0, 0]) == 9

    asyncio.run(main())
    assert engine.batches == [1, 1, 1]


def test_the_event_loop_takes_as_many_images_as_its_time_allows() -> None:
    assert images_on_loop(cast(Session, Engine(2 * LOOP_SECONDS))) == 0
    assert 0 < images_on_loop(cast(Session, Engine(LOOP_SECONDS / 10))) <= 10
