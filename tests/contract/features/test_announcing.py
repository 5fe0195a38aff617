"""What is announced reaches a Redis that loses its last second, and outlives whoever announces."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from services.features.announcing import Announcer
from services.features.app import Parts
from services.features.domain.events import Event, Line
from services.features.signal_ports import Signal, SignalPage
from services.features.stores.signals import PostgresSignals
from tests.contract.features.conftest import ON_EVERY_STORE, OnlineServers

NOW = 1_760_000_000_000
LATER = NOW + 3_000


class Shop:
    """A catalogue with one product, which one user has bought."""

    def __init__(self, parts: Parts) -> None:
        self.now_ms = NOW
        self._parts = parts
        self.signals = PostgresSignals(parts.database)
        self.announcer = self.another()

    def another(self) -> Announcer:
        parts = self._parts
        return Announcer(
            list(parts.definitions.entities.values()), self.signals, parts.online, parts.queue, parts.computer,
            lambda: self.now_ms,
        )  # fmt: skip

    async def change(self) -> None:
        bought = Event(
            "e", "purchase-complete", "u1", "", "", NOW * 1_000, (Line("p1", 1, 2.0),), None, None, None, "", "", {}
        )
        await self._parts.log.append([bought])
        signal = Signal("p1", False, "Toys", 1.0, 1, 5, None, 0)
        await self.signals.apply(SignalPage([signal], "1", restart=False, caught_up=True))

    async def announce(self) -> None:
        await self.announcer.confirm()
        if self.announcer.changed:
            await self.announcer.announce()
        if self.announcer.moved:
            await self.announcer.mark()

    async def due(self) -> list[str]:
        entities = ("Product", "User")
        claims = [claim for entity in entities for claim in await self._parts.queue.claim(entity, self.now_ms + 500, 9)]
        return sorted(claim.id for claim in claims)

    async def noted(self) -> bool:
        return bool(await self.signals.unannounced(0, 9) or await self.signals.moved(9))


@pytest.fixture
async def shop(parts: Parts) -> Shop:
    made = Shop(parts)
    await made.change()
    return made


@ON_EVERY_STORE
class TestAnnouncer:
    async def test_announces_once_and_lets_go_when_it_is_kept(self, shop: Shop) -> None:
        await shop.announce()
        assert await shop.due() == ["p1", "u1"]
        shop.now_ms = LATER - 1
        await shop.announce()
        assert await shop.noted()
        shop.now_ms = LATER
        await shop.announce()
        assert not await shop.noted()
        shop.now_ms = NOW + 20_000
        await shop.announce()
        assert await shop.due() == []

    async def test_announces_again_what_was_lost(self, shop: Shop, online_servers: OnlineServers) -> None:
        await shop.announce()
        for url in online_servers.urls:
            async with Redis.from_url(url) as redis:
                await redis.flushall()
        assert await shop.due() == []
        shop.now_ms = LATER
        await shop.announce()
        assert await shop.due() == ["p1", "u1"]

    async def test_another_announces_what_one_who_died_may_not_have(self, shop: Shop) -> None:
        await shop.announce()
        shop.now_ms += 40_000
        shop.announcer = shop.another()
        await shop.announce()
        assert await shop.due() == ["p1", "u1"]
