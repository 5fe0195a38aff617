"""Feature servers, workers and a gateway as processes, each to be stopped, killed and started again by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import probes
from deploy.local.service import Service
from tests.support.shop import free_ports
from tests.support.stack import temporary_folder

Ready = Callable[[int], Awaitable[bool]]

_SERVER = [sys.executable, "-m", "services.features"]
_WORKER = [*_SERVER, "worker"]
_GATEWAY = [sys.executable, "-m", "gateway"]


@dataclass(frozen=True, slots=True)
class Member:
    """One process; its door (0: it has none) and its ops port stay the same over restarts."""

    service: Service
    port: int
    ops_port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        await self.service.stop()
        return self.service.child.returncode or 0

    async def kill(self) -> None:
        """SIGKILL."""
        self.service.child.kill()
        await self.service.child.wait()

    async def start(self) -> None:
        """Returns when it is ready."""
        await self.service.start()

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; counted since the process started."""
        return sum(value for _, value in await self.samples(name, **labels))

    async def samples(self, name: str, **labels: str) -> list[tuple[Mapping[str, str], float]]:
        """Those samples, each with all of its labels."""
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self.ops_port}/metrics") as answer:
            text = await answer.text()
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that runs on one pair of stores."""

    servers: list[Member]
    workers: list[Member]
    gateway: Member

    @property
    def address(self) -> str:
        """All servers, as clients name them."""
        return ",".join(server.address for server in self.servers)

    @property
    def base_url(self) -> str:
        return f"http://{self.gateway.address}"


@asynccontextmanager
async def running_fleet(
    dsn: str, redis_url: str, catalogue: str, *, servers: int, workers: int, settings: Mapping[str, str]
) -> AsyncIterator[Fleet]:
    """A fleet whose members are all ready, gone afterwards. ``catalogue``: the address of whatever streams signals."""
    ports = iter(free_ports(2 * servers + workers + 2))
    async with temporary_folder() as folder, AsyncExitStack() as started:
        features = {
            **os.environ,
            "FEATURES_DATABASE_URL": dsn,
            "FEATURES_REDIS_URL": redis_url,
            "FEATURES_RECOMMENDER_ADDRESS": catalogue,
            **settings,
        }

        def member(name: str, command: list[str], variables: Mapping[str, str], ready: Ready, door: bool) -> Member:
            port, ops_port = next(ports) if door else 0, next(ports)
            environment = {**variables, **_ports(command, port, ops_port)}
            service = Service(name, command, environment, folder / name, lambda: ready(port or ops_port))
            started.push_async_callback(service.stop)
            return Member(service, port, ops_port)

        fleet_servers = [member(f"server-{n}", _SERVER, features, probes.serving, True) for n in range(servers)]
        fleet_workers = [member(f"worker-{n}", _WORKER, features, probes.ready, False) for n in range(workers)]
        edge = {
            **os.environ,
            "GATEWAY_FEATURES_ADDRESS": ",".join(server.address for server in fleet_servers),
            "GATEWAY_RECOMMENDER_ADDRESS": catalogue,
            **settings,
        }
        fleet = Fleet(fleet_servers, fleet_workers, member("gateway", _GATEWAY, edge, probes.ready, True))
        await asyncio.gather(*(one.start() for one in (*fleet.servers, *fleet.workers, fleet.gateway)))
        yield fleet


def _ports(command: list[str], port: int, ops_port: int) -> dict[str, str]:
    if command is _WORKER:
        return {"FEATURES_WORKER_OPS_PORT": str(ops_port)}
    prefix = "GATEWAY" if command is _GATEWAY else "FEATURES"
    return {f"{prefix}_PORT": str(port), f"{prefix}_OPS_PORT": str(ops_port)}
