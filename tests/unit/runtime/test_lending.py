"""Connections at hand: the same one again and again, nobody passed over, nothing kept that is of no use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from services.runtime.lending import Lender
from tests.support.waiting import eventually


@dataclass(eq=False)
class Connection:
    """One that may break."""

    fit: bool = True


@dataclass
class FakePool:
    """As many connections as it is told, the last that came back first."""

    size: int = 2
    idle: list[Connection] = field(default_factory=list)
    lent: list[Connection] = field(default_factory=list)
    waits: asyncio.Condition = field(default_factory=asyncio.Condition)
    terminated: bool = False

    async def acquire(self, *, timeout: float) -> Connection:
        async with asyncio.timeout(timeout), self.waits:
            await self.waits.wait_for(lambda: len(self.lent) < self.size)
            connection = self.idle.pop() if self.idle else Connection()
            self.lent.append(connection)
            return connection

    async def release(self, connection: Connection) -> None:
        async with self.waits:
            self.lent.remove(connection)
            if connection.fit:
                self.idle.append(connection)
            self.waits.notify()

    async def close(self) -> None:
        async with self.waits:
            await self.waits.wait_for(lambda: not self.lent)

    def terminate(self) -> None:
        self.terminated = True


@pytest.fixture
async def pool() -> FakePool:
    """Of two."""
    return FakePool()


@pytest.fixture
async def lender(pool: FakePool) -> Lender:
    """Which keeps for long."""
    return Lender(pool, 5.0, lambda connection: connection.fit, 3_600.0)


async def both(lender: Lender) -> list[Connection]:
    """Two that are at hand then, the second on top."""
    connections = [await lender.borrow(), await lender.borrow()]
    for connection in connections:
        await lender.give_back(connection)
    return connections


async def test_the_last_used_is_lent_first_without_the_pool(lender: Lender, pool: FakePool) -> None:
    first, second = await both(lender)
    assert pool.lent == [first, second]
    assert [await lender.borrow(), await lender.borrow()] == [second, first]


async def test_who_waits_gets_what_comes_back(lender: Lender) -> None:
    first, _ = await lender.borrow(), await lender.borrow()
    waiting = asyncio.create_task(lender.borrow())
    await asyncio.sleep(0)
    await lender.give_back(first)
    assert await waiting is first


async def test_a_wait_that_was_in_vain_keeps_nothing_from_those_who_come(pool: FakePool) -> None:
    lender = Lender(pool, 0.0, lambda connection: connection.fit)
    connections = [await pool.acquire(timeout=1.0), await pool.acquire(timeout=1.0)]
    with pytest.raises(TimeoutError):
        await lender.borrow()
    for connection in connections:
        await lender.give_back(connection)
    assert await lender.borrow() is connections[1]
    await lender.close(1.0)


async def test_one_that_broke_is_not_lent_again(lender: Lender, pool: FakePool) -> None:
    first, second = await both(lender)
    second.fit = False
    assert await lender.borrow() is first
    assert pool.lent == [first]
    first.fit = False
    await lender.give_back(first)
    assert not pool.lent
    assert not pool.idle


async def test_what_failed_goes_to_the_pool(lender: Lender, pool: FakePool) -> None:
    connection = await lender.borrow()
    await lender.give_back(connection, failed=True)
    assert pool.idle == [connection]


async def test_what_nobody_needs_goes_to_the_pool_and_what_is_needed_stays(lender: Lender, pool: FakePool) -> None:
    first, second = await both(lender)
    lender._look()  # both were needed before
    await lender.give_back(await lender.borrow())
    lender._look()
    await eventually(lambda: pool.idle == [first])
    assert pool.lent == [second]
    await lender.close(1.0)


async def test_at_rest_all_of_them_go_to_the_pool(pool: FakePool) -> None:
    lender = Lender(pool, 5.0, lambda connection: connection.fit, 0.001)
    connections = await both(lender)
    await eventually(lambda: not pool.lent)
    assert sorted(map(id, pool.idle)) == sorted(map(id, connections))
    await eventually(lambda: lender._due is None)


async def test_it_closes_when_what_is_lent_is_back(lender: Lender, pool: FakePool) -> None:
    await both(lender)
    connection = await lender.borrow()
    closing = asyncio.create_task(lender.close(5.0))
    await asyncio.sleep(0)
    await lender.give_back(connection)
    await closing
    assert not pool.lent
    assert not pool.terminated


async def test_it_ends_what_does_not_come_back(lender: Lender, pool: FakePool) -> None:
    await lender.borrow()
    await lender.close(0.0)
    assert pool.terminated


async def test_it_ends_all_when_its_wait_is_given_up(lender: Lender, pool: FakePool) -> None:
    await lender.borrow()
    closing = asyncio.create_task(lender.close(5.0))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert pool.terminated
