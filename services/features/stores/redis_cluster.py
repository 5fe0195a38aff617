"""Redis Cluster: each key's server by slot, each server with its own breaker, so that one outage stays one server's.

The driver's own cluster client closes and opens everything anew when one server fails; here the others never notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from services.features.ports import ONLINE_STORE, StoreDownError
from services.features.stores.redis import Command, LoneServer, RedisServer, RedisStore, serving
from services.features.stores.redis_holding import HoldingLink, HoldingServer
from services.features.stores.redis_link import RefusedError, opener
from services.runtime.lifecycle import background
from services.runtime.logs import get_logger
from services.runtime.metrics import DEPENDENCY_UP

log = get_logger(__name__)

# Seconds between looks at who has which slots: what a failover costs beyond the cluster's own time.
_LOOK_EVERY = 1.0
# While nobody tells.
_LOOK_AGAIN = 0.2

# "host:port"
Address = str
Opener = Callable[[Address], AbstractAsyncContextManager[RedisServer]]


class Cluster(RedisStore):
    """Implements RedisStore on the masters of a cluster."""

    ordered = False

    def __init__(self, seeds: Sequence[Address], opener: Opener, changed: asyncio.Event, patience: float) -> None:
        """``changed``: what the servers that ``opener`` opens set, see ``serving``."""
        self._seeds = seeds
        self._opener = opener
        self._changed = changed
        self._patience = patience
        self._servers: dict[Address, tuple[RedisServer, AsyncExitStack]] = {}
        self._slots: list[RedisServer | None] = []
        self._wanted = asyncio.Event()
        self._looked = asyncio.Event()
        self._lost = False
        DEPENDENCY_UP.labels(ONLINE_STORE).set(1)

    def slot(self, key: str) -> int:
        """See RedisStore."""
        return key_slot(key.encode())

    async def send(self, commands: Sequence[Command], extra: float = 0.0) -> list[Any]:
        """See RedisStore. What turns out to be elsewhere is sent there, once."""
        if not self._slots and not self._lost:  # only just started
            with contextlib.suppress(StoreDownError):
                await self._newer_map()
        answers = await self._spread(commands, extra)
        moved = [place for place, answer in enumerate(answers) if isinstance(answer, RefusedError)]
        if not moved:
            return answers
        with contextlib.suppress(StoreDownError):
            await self._newer_map()
        again = await self._spread([commands[place] for place in moved], extra)
        for place, answer in zip(moved, again, strict=True):
            # On its way from one server to another: back within moments, or in the log.
            gone = isinstance(answer, RefusedError)
            answers[place] = StoreDownError(ONLINE_STORE, "slot is moving") if gone else answer
        return answers

    async def watched(self, commands: Sequence[Command]) -> tuple[list[Any], asyncio.Event | None]:
        """See RedisStore."""
        server = self._slots[self.slot(commands[0].key)] if self._slots else None
        if server is not None:
            self._changed.clear()
            try:
                answers, told = await server.watched(commands)
            except StoreDownError as error:
                return [error] * len(commands), None
            if not any(isinstance(answer, RefusedError) for answer in answers):
                return answers, self._changed if told else None
        return await self.send(commands), None

    async def _spread(self, commands: Sequence[Command], extra: float) -> list[Any]:
        """Sends to each server what is its own, at once."""
        result: list[Any] = [StoreDownError(ONLINE_STORE, "slot without a server")] * len(commands)
        parts: dict[RedisServer, list[int]] = {}
        for place, one in enumerate(commands):
            server = self._slots[self.slot(one.key)] if self._slots else None
            if server is not None:
                parts.setdefault(server, []).append(place)

        async def part(server: RedisServer, places: list[int]) -> None:
            try:
                answers = await server.send([commands[place] for place in places], extra)
            except StoreDownError as error:
                answers = [error] * len(places)
            for place, answer in zip(places, answers, strict=True):
                result[place] = answer

        if len(parts) == 1:
            await part(*next(iter(parts.items())))
        else:
            await asyncio.gather(*(part(server, places) for server, places in parts.items()))
        return result

    async def _newer_map(self) -> None:
        looked = self._looked
        self._wanted.set()
        try:
            async with asyncio.timeout(self._patience):
                await looked.wait()
        except TimeoutError as error:
            raise StoreDownError(ONLINE_STORE, "no map of the cluster") from error

    async def follow(self) -> None:
        """Keeps the map of slots true, for as long as the client lives."""
        try:
            while True:
                self._wanted.clear()
                self._report(await self._look())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN if self._lost else _LOOK_EVERY):
                        await self._wanted.wait()
        finally:
            for address in list(self._servers):
                await self._close(address)

    def _report(self, found: bool) -> None:
        if found is not self._lost:
            return
        self._lost = not found
        DEPENDENCY_UP.labels(ONLINE_STORE).set(found)
        if found:
            log.info("store is back", store=ONLINE_STORE)
        else:
            log.warning("store is down", store=ONLINE_STORE, cause="no server of the cluster tells the slots")

    async def _look(self) -> bool:
        """Asks servers for the map until one gives it; those that are up first."""
        known = [(server.down, random.random(), address) for address, (server, _) in self._servers.items()]  # noqa: S311 - no secret
        for _, _, address in sorted(known):
            if await self._look_at(address, self._servers[address][0]):
                return True
        for address in self._seeds:
            if address not in self._servers:
                async with self._opener(address) as server:
                    if await self._look_at(address, server):
                        return True
        return False

    async def _look_at(self, asked: Address, server: RedisServer) -> bool:
        try:
            rows = await server.ask("CLUSTER", "SLOTS")
        except StoreDownError:
            return False
        if not rows:
            return False
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, master, *_ in rows:
            # A server that does not know its own name is where it was asked.
            host = (master[0] or b"").decode() or asked.rpartition(":")[0]
            if ":" in host and not host.startswith("["):  # IPv6
                host = f"[{host}]"
            owners[first : last + 1] = [f"{host}:{master[1]}"] * (last + 1 - first)
        await self._adopt(owners)
        return True

    async def _adopt(self, owners: Sequence[Address | None]) -> None:
        current = {address for address in owners if address is not None}
        for address in current - self._servers.keys():
            stack = AsyncExitStack()
            self._servers[address] = (await stack.enter_async_context(self._opener(address)), stack)
        self._slots = [None if address is None else self._servers[address][0] for address in owners]
        for address in self._servers.keys() - current:
            await self._close(address)
        self._looked.set()
        self._looked = asyncio.Event()

    async def _close(self, address: Address) -> None:
        _, stack = self._servers.pop(address)
        await stack.aclose()
        with contextlib.suppress(KeyError):
            DEPENDENCY_UP.remove(_name(address))


@asynccontextmanager
async def connect(url: str, timeout: float) -> AsyncIterator[RedisStore]:
    """The store at ``url``. ``timeout``: seconds for each call.

    ``redis://host:port/0`` is one server, ``redis://host:port,host:port/?cluster=1`` a cluster, of which these servers,
    or those of them that are up, name all others.
    """
    seeds, server_url = _parsed(url)
    changed = asyncio.Event()
    if server_url is None:
        async with serving(url, timeout, changed) as server:
            holding = server.beside(opener(url, HoldingLink), HoldingServer)
            try:
                yield LoneServer(server, changed, holding.values)
            finally:
                await holding.close()
        return

    def server_opener(address: Address) -> AbstractAsyncContextManager[RedisServer]:
        return serving(server_url(address), timeout, changed, _name(address))

    cluster = Cluster(seeds, server_opener, changed, max(timeout, 0.25))
    async with background("follow the cluster", cluster.follow()):
        yield cluster


def _name(address: Address) -> str:
    return f"{ONLINE_STORE} {address}"


def _parsed(url: str) -> tuple[list[Address], Callable[[Address], str] | None]:
    """The seeds, and the URL of each server of a cluster; None where it is none."""
    parts = urlsplit(url)
    options: Mapping[str, str] = dict(parse_qsl(parts.query))
    if options.get("cluster", "0") != "1":
        return [], None
    login, at, hosts = parts.netloc.rpartition("@")
    rest = urlencode({name: value for name, value in options.items() if name != "cluster"})
    return (
        [host if ":" in host else f"{host}:6379" for host in hosts.split(",")],
        lambda address: urlunsplit((parts.scheme, f"{login}{at}{address}", "/0", rest, "")),
    )
