"""Values that are held in memory are at every moment those that the server has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from services.features.ports import StoreDownError
from services.features.stores import redis, redis_cluster, redis_holding
from services.features.stores.redis import RedisStore
from services.features.stores.redis_link import RefusedError
from tests.support.proxy import running_proxy
from tests.support.stack import ValkeyServer, free_port, temporary_folder
from tests.support.waiting import eventually

KEYS = [f"held:{n}" for n in range(20)]


@asynccontextmanager
async def opened(server: ValkeyServer, url: str = "") -> AsyncIterator[tuple[RedisStore, Redis]]:
    """The store, and somebody else who writes."""
    async with Redis.from_url(server.url) as other, redis_cluster.connect(url or server.url, 5.0) as store:
        await other.delete(*KEYS)
        yield store, other


async def reads_of(other: Redis) -> int:
    """How many times the server was asked for values."""
    stats: Any = await other.info("commandstats")
    calls: int = stats.get("cmdstat_mget", {}).get("calls", 0)
    return calls


async def test_what_does_not_change_is_read_once(valkey: ValkeyServer) -> None:
    async with opened(valkey) as (store, other):
        await other.mset(dict.fromkeys(KEYS, "1"))
        before = await reads_of(other)
        for _ in range(10):
            assert await store.often(KEYS[:10]) == [b"1"] * 10
        assert await store.often(KEYS) == [b"1"] * 20
        assert await reads_of(other) - before == 2


async def test_each_change_is_seen_by_the_next_read(valkey: ValkeyServer) -> None:
    async with opened(valkey) as (store, other):
        one, two = KEYS[:2]
        for n in range(300):
            await other.set(one, n)
            assert [value or b"" for value in await store.often([one, two])] == [b"%d" % n, b""]
        await other.set(two, "new")
        assert await store.often([two]) == [b"new"]
        await other.delete(one)
        assert not (await store.often([one, two]))[0]
        await other.set(one, "again")
        assert await store.often([one, two]) == [b"again", b"new"]
        await other.flushall()
        assert not any(await store.often([one, two]))
        await other.set(two, "short", px=30)
        assert (await store.often([two]))[0] in {b"short", b""}
        await eventually(lambda: ended(store, two))


async def ended(store: RedisStore, key: str) -> bool:
    return not (await store.often([key]))[0]


async def test_no_read_is_older_than_itself(valkey: ValkeyServer) -> None:
    """Whatever was written when a read begins is in its answer, with reads and writes under way all the time."""
    async with opened(valkey) as (store, other):
        await other.mset(dict.fromkeys(KEYS, 0))
        written, seen = dict.fromkeys(KEYS, 0), 0

        async def write() -> None:
            for n in range(1, 400):
                key = KEYS[n % 7]
                await other.set(key, n)
                written[key] = n

        async def read() -> None:
            nonlocal seen
            while not writing.done():
                before = [written[key] for key in KEYS]
                values = await store.often(KEYS)
                assert all(int(value) >= least for value, least in zip(values, before, strict=True))
                seen += 1

        writing = asyncio.create_task(write())
        await asyncio.gather(writing, *(read() for _ in range(4)))
        assert seen > 100


async def test_what_is_held_is_given_while_the_server_is_asked_and_returned_if_it_is_right(
    valkey: ValkeyServer,
) -> None:
    async with opened(valkey) as (store, other):
        given: list[Sequence[bytes | None]] = []
        await other.mset(dict.fromkeys(KEYS, "1"))
        assert await store.often(KEYS, meanwhile=given.append) == [b"1"] * 20
        assert not given, "nothing was held"
        assert await store.often(KEYS, meanwhile=given.append) is given[0]
        assert given == [[b"1"] * 20]
        await other.set(KEYS[3], "2")
        value = (await store.often(KEYS, meanwhile=given.append))[3]
        assert value == b"2", "whatever was given before"
        # Another key: those that were asked for are what they were.
        await store.often(["held:other"])
        await other.set("held:other", "3")
        given.clear()
        assert await store.often(KEYS, meanwhile=given.append) is given[0]
        await other.delete("held:other")


async def test_what_is_held_goes_with_its_connection(valkey: ValkeyServer) -> None:
    async with (
        running_proxy(valkey.port) as proxy,
        opened(valkey, f"redis://127.0.0.1:{proxy.port}/0") as (store, other),
    ):
        for n in range(5):
            await other.set(KEYS[0], n)
            assert await eventually_read(store) == b"%d" % n
            proxy.cut()
            await other.set(KEYS[0], f"{n} then")
            assert await eventually_read(store) == b"%d then" % n


async def eventually_read(store: RedisStore) -> bytes:
    """Once the store is there again."""
    values: list[Any] = []

    async def answered() -> bool:
        values[:] = await store.often(KEYS[:1])
        return not isinstance(values[0], StoreDownError)

    await eventually(answered)
    value: bytes = values[0]
    return value


async def test_nothing_is_held_where_the_server_does_not_tell(valkey: ValkeyServer) -> None:
    async with Redis.from_url(valkey.url) as admin:
        await admin.acl_setuser(
            "untold", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-client"]
        )
    url = f"redis://untold:secret@127.0.0.1:{valkey.port}/0"
    async with opened(valkey, url) as (store, other):
        for n in range(20):
            await other.set(KEYS[0], n)
            assert await store.often(KEYS[:1]) == [b"%d" % n]
        before = await reads_of(other)
        await store.often(KEYS[:1])
        assert await reads_of(other) == before + 1


async def test_nothing_is_held_where_the_server_takes_the_order_and_cannot_tell() -> None:
    """One of which HELLO was renamed: without RESP3 it takes CLIENT TRACKING, and says nothing of changes."""
    async with temporary_folder() as folder:
        server = Valkey(folder, free_port(), log=folder / "log", options=["--rename-command", "HELLO", ""])
        await server.start()
        try:
            async with Redis.from_url(server.url, protocol=2) as other, redis_cluster.connect(server.url, 5.0) as store:
                for n in range(3):
                    await other.set(KEYS[0], n)
                    assert await store.often(KEYS[:1]) == [b"%d" % n]
        finally:
            await server.stop()


async def test_where_there_is_no_connection_for_it_the_other_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many at once, and nobody takes the server for down; when there is room again it is held again."""
    monkeypatch.setattr(redis, "_UNHELD", 0.01)
    async with temporary_folder() as folder:
        server = Valkey(folder, free_port(), log=folder / "log")
        await server.start()
        try:
            async with Redis.from_url(server.url) as other, redis_cluster.connect(server.url, 5.0) as store:
                await other.mset(dict.fromkeys(KEYS, "1"))
                await store.values(KEYS)
                await other.config_set("maxclients", 2)  # these two
                for _ in range(5):
                    assert await asyncio.gather(*(store.often(KEYS) for _ in range(10))) == [[b"1"] * 20] * 10
                await other.config_set("maxclients", 100)

                async def held() -> bool:
                    before = await reads_of(other)
                    assert await store.often(KEYS) == [b"1"] * 20
                    return await reads_of(other) == before

                await eventually(held)
        finally:
            await server.stop()


async def test_what_a_server_does_not_tell_is_not_held_for_ever(
    valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_holding, "_LIFE", 0.2)
    async with opened(valkey) as (store, other):
        await other.set(KEYS[0], "old")
        assert await store.often(KEYS[:1]) == [b"old"]
        link: Any = store._holding.__self__._link  # type: ignore[attr-defined]
        link._pushed = lambda _: None
        await other.set(KEYS[0], "new")

        async def read() -> bool:
            return await store.often(KEYS[:1]) == [b"new"]

        await eventually(read)


async def test_a_server_that_has_the_key_elsewhere_says_so(valkey: ValkeyServer) -> None:
    """A cluster's server that was not declared as one."""
    async with opened(valkey) as (store, _):
        await store.often(KEYS[:1])
        link: Any = store._holding.__self__._link  # type: ignore[attr-defined]
        link.ask = refused
        with pytest.raises(RefusedError, match="MOVED"):
            await store.often(KEYS)


def refused(*_: Any) -> asyncio.Future[list[Any]]:
    asked: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    asked.set_result([RefusedError("MOVED 1 127.0.0.1:1")])
    return asked


async def test_little_is_held(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_holding, "_ROOM", 2_000)
    async with opened(valkey) as (store, other):
        await other.mset({key: key for key in KEYS})
        for turn in range(3):
            for key in KEYS:
                assert await store.often([key]) == [key.encode()], turn
        link: Any = store._holding.__self__._link  # type: ignore[attr-defined]
        assert len(link._held._there) <= 16
