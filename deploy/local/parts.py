"""The parts of the stack: their commands, environments and how each says that it is ready."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.child import Child, StartError, tail
from deploy.local.postgres import Postgres
from deploy.local.settings import LocalSettings
from deploy.local.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ("features", "recommender")


class Part(Protocol):
    """One process of the stack."""

    name: str

    @property
    def child(self) -> Child:
        """The process as last started."""

    async def start(self, timeout: float) -> None:
        """Starts it and returns when it is ready; raises StartError with the end of its log."""

    async def stop(self, grace: float) -> None:
        """Asks it to end, and ends it after ``grace`` seconds."""


class Service:
    """A Python process of ours."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        ready: Callable[[], Awaitable[bool]],
        log: Path,
    ) -> None:
        self.name = name
        self._command = command
        self._env = env
        self._ready = ready
        self._log = log
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The process as last started."""
        if self._child is None:
            raise StartError(f"{self.name} was not started")
        return self._child

    async def start(self, timeout: float) -> None:
        """Starts it and returns when it is ready; raises StartError with the end of its log."""
        self._child = child = await Child.start(
            self._command, log=self._log, env=self._env, cwd=ROOT, death_signal=signal.SIGTERM
        )
        deadline = asyncio.get_running_loop().time() + timeout
        while child.returncode is None and asyncio.get_running_loop().time() < deadline:
            if await self._ready():
                return
            await asyncio.sleep(0.05)
        ended = child.returncode
        await self.stop(grace=2.0)
        what = f"is not ready after {timeout:.0f} s" if ended is None else f"ended with {ended}"
        raise StartError(f"{self.name} {what}; the end of {self._log}:\n{tail(self._log)}")

    async def stop(self, grace: float) -> None:
        """Asks it to end, and ends it after ``grace`` seconds."""
        if self._child is not None:
            await self._child.stop(grace)


def stores(settings: LocalSettings, data: Path, logs: Path) -> tuple[Postgres, Valkey]:
    """The two servers that keep the data."""
    postgres = Postgres(data / "postgres", settings.postgres_port, log=logs / "postgres.log", databases=DATABASES)
    return postgres, Valkey(data / "valkey", settings.redis_port, log=logs / "valkey.log")


def services(settings: LocalSettings, postgres: Postgres, valkey: Valkey, logs: Path) -> tuple[Service, ...]:
    """Our processes, in the order of their start. Call it when PostgreSQL runs: its passwords exist then."""
    env = environment(settings, postgres, valkey)
    python = sys.executable

    def service(name: str, module: Sequence[str], ready: Callable[[], Awaitable[bool]]) -> Service:
        return Service(name, (python, "-m", *module), env, ready, logs / f"{name}.log")

    return (
        service("recommender", ["services.recommender"], lambda: _serving(settings.recommender_port)),
        service("features", ["services.features"], lambda: _serving(settings.features_port)),
        service("worker", ["services.features", "worker"], lambda: _answers(settings.worker_ops_port)),
        service("gateway", ["gateway"], lambda: _answers(settings.gateway_port)),
    )


def environment(settings: LocalSettings, postgres: Postgres, valkey: Valkey) -> dict[str, str]:
    """What the services are told; what the caller's environment says beside that reaches them too."""
    features, recommender = (f"localhost:{p}" for p in (settings.features_port, settings.recommender_port))
    given = {
        "FEATURES_DATABASE_URL": postgres.dsn("features"),
        "FEATURES_REDIS_URL": valkey.url,
        "FEATURES_RECOMMENDER_ADDRESS": recommender,
        "RECOMMENDER_DATABASE_URL": postgres.dsn("recommender"),
        "RECOMMENDER_FEATURES_ADDRESS": features,
        "GATEWAY_FEATURES_ADDRESS": features,
        "GATEWAY_RECOMMENDER_ADDRESS": recommender,
        "WINDOWSHOP_FEATURES_ADDRESS": features,
        "WINDOWSHOP_RECOMMENDER_ADDRESS": recommender,
    }
    return {**os.environ, **{name: str(port) for name, port in settings.ports().items()}, **given}


async def _serving(port: int) -> bool:
    """Whether the gRPC server there says that it serves."""
    async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _answers(port: int) -> bool:
    """Whether the HTTP server there says that it is ready."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session,
            session.get(f"http://localhost:{port}/readyz") as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
