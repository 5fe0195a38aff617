"""A task beside a block: it ends with the block, and takes nobody's cancellation for its own."""

import asyncio

import pytest

from services.runtime.lifecycle import background


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise LookupError("of the task")


async def test_it_is_cancelled_and_gone_at_the_end_of_the_block() -> None:
    async with background("work", for_ever()) as task:
        assert not task.done()
    assert task.cancelled()


async def test_its_failure_comes_at_the_end_of_the_block() -> None:
    with pytest.raises(LookupError, match="of the task"):
        async with background("work", fails()):
            await asyncio.sleep(0)


async def test_who_is_cancelled_while_it_ends_is_cancelled() -> None:
    ending, end = asyncio.Event(), asyncio.Event()

    async def ends_slowly() -> None:
        try:
            await for_ever()
        finally:
            ending.set()
            await end.wait()

    async def again_and_again() -> None:
        while True:
            async with background("work", ends_slowly()):
                await asyncio.sleep(0)

    outer = asyncio.create_task(again_and_again())
    await ending.wait()
    outer.cancel()
    await asyncio.sleep(0)
    end.set()

    done, _ = await asyncio.wait([outer], timeout=5)
    assert done
    assert outer.cancelled()
