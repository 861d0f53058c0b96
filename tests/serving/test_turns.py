"""Work on the event loop is divided among its turns."""

import asyncio
import time

from mnist_edge.serving.turns import Turns


def test_a_turn_of_the_event_loop_has_limited_work_in_the_order_of_its_calls() -> None:
    turns = Turns(seconds=0.005)
    done: list[tuple[int, int]] = []
    turn = 0

    async def work(number: int) -> None:
        await turns.wait()
        time.sleep(0.003)
        done.append((number, turn))

    async def main() -> None:
        nonlocal turn
        tasks = [asyncio.create_task(work(number)) for number in range(20)]
        while not all(task.done() for task in tasks):
            turn += 1
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [number for number, _ in done] == list(range(20))
    each = [sum(at == one for _, at in done) for one in {at for _, at in done}]
    assert max(each) <= 3 and len(each) >= 7


def test_a_single_request_waits_for_no_turn() -> None:
    async def main() -> bool:
        task = asyncio.create_task(Turns().wait())
        await asyncio.sleep(0)
        return task.done()

    assert asyncio.run(main())
