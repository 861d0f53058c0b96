"""`LoopTime`: work on the event loop is divided among its iterations."""

import asyncio
import time

from mnist_edge.serving.loop_time import LoopTime


def test_work_in_one_iteration_of_the_event_loop_is_limited_and_keeps_its_order() -> None:
    loop_time = LoopTime(seconds=0.005)
    done: list[tuple[int, int]] = []
    iteration = 0

    async def work(number: int) -> None:
        await loop_time.wait()
        time.sleep(0.003)
        done.append((number, iteration))

    async def main() -> None:
        nonlocal iteration
        tasks = [asyncio.create_task(work(number)) for number in range(20)]
        while not all(task.done() for task in tasks):
            iteration += 1
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [number for number, _ in done] == list(range(20))
    per_iteration = [sum(at == one for _, at in done) for one in {at for _, at in done}]
    assert max(per_iteration) <= 3 and len(per_iteration) >= 7


def test_a_single_request_works_in_the_current_iteration() -> None:
    async def main() -> bool:
        task = asyncio.create_task(LoopTime().wait())
        await asyncio.sleep(0)
        return task.done()

    assert asyncio.run(main())
