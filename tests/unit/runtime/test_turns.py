"""Others are served between the pieces of long work, and between what is ready at once."""

import asyncio

import pytest

from services.runtime.turns import Turns, mapped, pieces


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
async def test_the_pieces_are_all_there_is(count: int) -> None:
    items = list(range(count))

    assert [piece async for piece in pieces(items, 3)] == [items[0:3], items[3:6], items[6:7]][: -(-count // 3)]
    assert await mapped(str, items, 3) == [str(item) for item in items]


async def test_others_have_a_turn_after_each_piece() -> None:
    order: list[str] = []
    work = asyncio.create_task(mapped(lambda item: order.append(f"work {item}"), range(4), 2))
    other = asyncio.create_task(mapped(lambda item: order.append(f"other {item}"), range(2), 1))
    await asyncio.gather(work, other)

    assert order == ["work 0", "work 1", "other 0", "work 2", "work 3", "other 1"]


async def test_a_turn_has_as_much_work_as_there_is_time_for() -> None:
    now, log = [0.0], list[str]()
    turns = Turns(5.0, lambda: now[0])

    async def work(name: str) -> None:
        await turns.begin()
        log.append(name)
        now[0] += 2.0

    async def others() -> None:
        """Come to their turn between."""
        while len(log) < 9:
            log.append("|")
            await asyncio.sleep(0)

    await asyncio.gather(*(work(name) for name in "abcdefg"), others())
    assert "".join(log) == "abc|def|g"
    # In a turn of its own again.
    await work("z")
    await asyncio.sleep(0)
    await asyncio.gather(*(work(name) for name in "wxy"))
    assert "".join(log[-4:]) == "zwxy"


async def test_nobody_is_passed_by_those_who_come_later() -> None:
    now, log = [0.0], list[str]()
    turns = Turns(1.0, lambda: now[0])
    called = asyncio.Event()

    async def work(name: str) -> None:
        await turns.begin()
        log.append(name)
        now[0] += 1.0

    async def early() -> None:
        """Called before anybody begins in a turn, so it comes to the next before that one's end is noted."""
        await called.wait()
        await work("early")

    waiting = [asyncio.create_task(early())]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(called.set)
    waiting += [asyncio.create_task(work(name)) for name in "abc"]
    left = asyncio.create_task(work("left"))
    await asyncio.sleep(0)
    left.cancel()
    for name in "defg":
        waiting.append(asyncio.create_task(work(name)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert log == ["a", "b", "c", "early", "d", "e", "f", "g"]
