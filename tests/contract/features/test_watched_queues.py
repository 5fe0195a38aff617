"""Who has looked at a queue is told of what changes it, by whoever does, and of the end of what would tell."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from redis.asyncio import Redis

from services.features.app import Parts, open_parts
from services.features.ports import ONLINE_STORE, StoreDownError
from services.features.stores.breaker import Breaker
from services.features.stores.keys import due_key
from services.features.stores.queue import RedisDueQueue
from services.features.stores.redis import LoneServer, RedisServer
from services.features.stores.redis_link import Link, opener
from services.features.watch_ports import Look
from tests.contract.features.conftest import ON_EVERY_STORE, OnlineServers
from tests.support.features import settings
from tests.support.proxy import running_proxy
from tests.support.stack import ValkeyServer
from tests.support.waiting import eventually

NOW = 1_760_000_000_000


async def told(look: Look) -> bool:
    """Within ten seconds."""
    assert look.changed is not None
    await asyncio.wait_for(look.changed.wait(), 10)
    return True


async def quiet(parts: Parts) -> Look:
    """A look after which nothing is on its way that came before it: what is told late makes one look too many."""
    looks: list[Look] = []

    async def one() -> bool:
        look = await parts.queue.look(NOW)
        looks[:] = [look]
        await parts.queue.look(NOW)
        return look.changed is not None and not look.changed.is_set()

    await eventually(one)
    return looks[0]


@ON_EVERY_STORE
class TestLooks:
    async def test_counts_what_is_due_and_tells_when_the_next_is(self, parts: Parts) -> None:
        assert (await parts.queue.look(NOW)).next_ms is None
        await parts.queue.renew()  # puts seals into the queues, which are never due
        look = await parts.queue.look(NOW)
        assert (dict(look.lengths), look.next_ms) == ({"User": 0, "Product": 0}, None)
        await parts.queue.enqueue("User", {"a": NOW + 700, "b": NOW + 900})
        await parts.queue.enqueue("Product", {"p": NOW + 800})
        look = await parts.queue.look(NOW)
        assert (dict(look.lengths), look.next_ms) == ({"User": 0, "Product": 0}, NOW + 700)
        look = await parts.queue.look(NOW + 800)
        assert (dict(look.lengths), look.next_ms) == ({"User": 1, "Product": 1}, NOW + 700)

    async def test_whatever_makes_something_due_is_told(self, parts: Parts) -> None:
        look = await quiet(parts)
        await parts.queue.enqueue("User", {"a": NOW})
        assert await told(look)
        look = await quiet(parts)
        await parts.online.mark({"Product": {"p": []}}, NOW, [7])
        assert await told(look)
        look = await quiet(parts)
        (claim,) = await parts.queue.claim("User", NOW, 9)
        assert await told(look)
        look = await quiet(parts)
        await parts.queue.complete("User", [(claim, NOW + 5)])
        assert await told(look)

    async def test_who_changes_it_needs_to_know_nothing_of_that(
        self, parts: Parts, online_servers: OnlineServers
    ) -> None:
        look = await quiet(parts)
        for url in online_servers.urls:
            async with Redis.from_url(url) as other:
                await other.flushall()
        assert await told(look)

    async def test_what_changed_before_a_look_is_in_it_or_told(self, parts: Parts) -> None:
        """With somebody who writes all the time."""
        await quiet(parts)
        written = 0

        async def write() -> None:
            nonlocal written
            for n in range(1, 300):
                await parts.queue.enqueue("User", {f"u{n}": NOW})
                written = n

        writing, seen = asyncio.create_task(write()), 0
        while seen < 299:
            before = written
            look = await parts.queue.look(NOW)
            seen = look.lengths["User"]
            assert seen >= before
            if seen < 299:
                assert await told(look)
        await writing


async def test_other_keys_are_not_told(parts: Parts) -> None:
    look = await quiet(parts)
    await parts.online.mark({"User": {}}, NOW, [8])
    await parts.queue.advance(5)
    await parts.redis.execute("SET", "other", 1)
    await parts.queue.cursor()
    assert look.changed is not None
    assert not look.changed.is_set()


async def test_the_end_of_a_connection_is_told(parts: Parts, valkey: ValkeyServer) -> None:
    async with running_proxy(valkey.port) as proxy, AsyncExitStack() as closers:
        near = await open_parts(settings("postgresql://nowhere", f"redis://127.0.0.1:{proxy.port}/0"), closers, 5.0)
        look = await quiet(near)
        proxy.cut()
        assert await told(look)
        await eventually(lambda: looked(near))
        await parts.queue.enqueue("User", {"a": NOW})
        assert (await near.queue.look(NOW)).lengths["User"] == 1


async def looked(parts: Parts) -> bool:
    try:
        return (await parts.queue.look(NOW)).changed is not None
    except StoreDownError:
        return False


async def test_a_server_that_does_not_tell_is_known_for_it(parts: Parts, valkey: ValkeyServer) -> None:
    async with Redis.from_url(valkey.url) as admin, AsyncExitStack() as closers:
        await admin.acl_setuser("deaf", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-client"])
        await admin.zadd(due_key("User"), {"a": NOW})
        url = f"redis://deaf:secret@127.0.0.1:{valkey.port}/0"
        near = await open_parts(settings("postgresql://nowhere", url), closers, 5.0)
        look = await near.queue.look(NOW)
        assert (look.lengths["User"], look.changed) == (1, None)


async def test_without_the_connection_that_tells_the_others_do(valkey: ValkeyServer) -> None:
    """As where clients are too many, or behind a proxy that takes the order to tell for a mistake."""

    async def refused(seconds: float) -> Link:
        raise ConnectionError("too many")

    breaker = Breaker(ONLINE_STORE)
    server = RedisServer(opener(valkey.url), breaker, 5.0, RedisServer(refused, breaker, 5.0))
    queue = RedisDueQueue(LoneServer(server, asyncio.Event()), ["User"])
    try:
        await queue.enqueue("User", {"a": NOW})
        for _ in range(4):
            look = await queue.look(NOW)
            assert (look.lengths["User"], look.next_ms, look.changed) == (1, NOW, None)
        assert not server.down
        await queue.claim("User", NOW, 9)
    finally:
        await server.close()
        async with Redis.from_url(valkey.url) as other:
            await other.flushall()
