"""A real Redis Cluster of three masters without replicas, for tests."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

from redis.asyncio import Redis

from deploy.local.child import StartError
from deploy.local.valkey import Valkey
from tests.support.stack import temporary_folder
from tests.support.waiting import eventually

_SLOTS = 16_384
_MASTERS = 3
# Servers of a cluster talk to each other at their port plus this.
_BUS = 10_000
_OPTIONS = [
    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000",
    "--cluster-require-full-coverage", "no",
]  # fmt: skip


class ClusterServers:
    """The servers; the first third of the slots is the first one's, and so on."""

    def __init__(self, servers: Sequence[Valkey]) -> None:
        self._servers = servers

    @property
    def url(self) -> str:
        """What the feature service is told."""
        return f"redis://{','.join(f'127.0.0.1:{server.port}' for server in self._servers)}/?cluster=1"

    @property
    def urls(self) -> list[str]:
        """Each server by itself."""
        return [server.url for server in self._servers]

    async def kill(self, place: int) -> None:
        """SIGKILL."""
        await self._servers[place].kill()

    async def start(self, place: int) -> None:
        """Start it again after `kill`; its keys and its place in the cluster are kept."""
        await self._servers[place].start()


@asynccontextmanager
async def running_cluster() -> AsyncIterator[ClusterServers]:
    """A cluster of one's own, gone afterwards."""
    async with temporary_folder() as folder, AsyncExitStack() as stack:
        servers: list[Valkey] = []
        for attempt in range(_MASTERS * 3):  # another process may take the free port before we do
            server = Valkey(folder / f"{attempt}", _free_port(), log=folder / "log", options=_OPTIONS)
            try:
                await server.start()
            except StartError:
                continue
            stack.push_async_callback(server.kill)
            servers.append(server)
            if len(servers) == _MASTERS:
                break
        clients = [await stack.enter_async_context(Redis.from_url(server.url)) for server in servers]
        for place, (client, (first, last)) in enumerate(zip(clients, _ranges(), strict=True)):
            await _cluster(client, "ADDSLOTSRANGE", first, last)
            await _cluster(client, "SET-CONFIG-EPOCH", place + 1)
        for server in servers[1:]:
            await _cluster(clients[0], "MEET", "127.0.0.1", server.port)

        async def agreed() -> bool:
            answers = [await _cluster(client, "INFO") for client in clients]
            known = [await _cluster(client, "SLOTS") for client in clients]
            return all(b"cluster_state:ok" in answer for answer in answers) and all(len(k) == _MASTERS for k in known)

        await eventually(agreed, 30)
        yield ClusterServers(servers)


async def _cluster(client: Redis, *words: Any) -> Any:
    return await client.execute_command("CLUSTER", *words)  # type: ignore[no-untyped-call]  # redis publishes no types for it


def _ranges() -> list[tuple[int, int]]:
    bounds = [_SLOTS * place // _MASTERS for place in range(_MASTERS + 1)]
    return [(first, following - 1) for first, following in pairwise(bounds)]


def _free_port() -> int:
    """A port whose bus port is free too, below those that the system gives to clients."""
    while True:
        port = random.randrange(11_000, 22_000)
        try:
            for number in (port, port + _BUS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port
