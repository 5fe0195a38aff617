"""One of our own processes as a part of the stack."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import probes
from deploy.local.child import Child, StartError, tail
from deploy.local.settings import STORES, StackSettings

# The first start migrates a database; everything starts at once on perhaps two cores.
_START_TIMEOUT = 60.0
# Services drain for up to 10 s (WINDOWSHOP_DRAIN_SECONDS), then close their stores.
_STOP_GRACE = 15.0


@dataclass
class Service:
    """A command that is up when `ready` says so."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ready: Callable[[], Awaitable[bool]]
    _child: Child | None = field(default=None, init=False)

    @property
    def child(self) -> Child:
        """The running process."""
        if self._child is None:
            raise StartError(f"{self.name} was not started")
        return self._child

    async def start(self, timeout: float = _START_TIMEOUT) -> None:
        """Start, return when it is ready. Raises StartError with the end of its log when it does not get there."""
        self._child = await Child.start(self.command, log=self.log, env=self.env)
        deadline = asyncio.get_running_loop().time() + timeout
        while self._child.returncode is None and asyncio.get_running_loop().time() < deadline:
            if await self.ready():
                return
            await asyncio.sleep(0.1)
        why = f"not ready after {timeout:g} s" if self._child.returncode is None else "ended"
        await self.stop(grace=2.0)
        raise StartError(f"{self.name} does not start ({why}); the end of {self.log}:\n{tail(self.log)}")

    async def stop(self, grace: float = _STOP_GRACE) -> None:
        """Let it finish what it does, end."""
        if self._child is not None:
            await self._child.stop(grace)


def services(
    settings: StackSettings, environment: Mapping[str, str], urls: Mapping[str, str], log: Callable[[str], Path]
) -> list[Service]:
    """Our processes in the order of starting. `urls`: the stores' environment names -> URLs.

    A process gets the URLs, and so the passwords, of its own stores alone.
    """
    recommenders = [settings.recommender_port + number for number in range(settings.recommenders)]
    addresses = ",".join(f"127.0.0.1:{port}" for port in recommenders)
    stores = {name: value for name, value in {**environment, **urls}.items() if name in STORES}
    common = {
        **{name: value for name, value in environment.items() if name not in STORES},
        **{name: str(port) for name, port in settings.ports().items()},
        "FEATURES_RECOMMENDER_ADDRESS": addresses,
        "RECOMMENDER_FEATURES_ADDRESS": f"127.0.0.1:{settings.features_port}",
        "GATEWAY_FEATURES_ADDRESS": f"127.0.0.1:{settings.features_port}",
        "GATEWAY_RECOMMENDER_ADDRESS": addresses,
        "PYTHONUNBUFFERED": "1",  # the last words before a crash reach the log
    }

    def env(service: str) -> dict[str, str]:
        return {**common, **{name: url for name, url in stores.items() if name.startswith(f"{service}_")}}

    def recommender(number: int, port: int) -> Service:
        name = f"recommender-{number + 1}" if number else "recommender"
        own = {"RECOMMENDER_PORT": str(port), "RECOMMENDER_OPS_PORT": str(settings.recommender_ops_port + number)}
        command = [python, "-m", "services.recommender"]
        return Service(name, command, {**env("RECOMMENDER"), **own}, log(name), lambda: probes.serving(port))

    python = sys.executable
    return [
        *(recommender(number, port) for number, port in enumerate(recommenders)),
        Service("features", [python, "-m", "services.features"], env("FEATURES"), log("features"),
                lambda: probes.serving(settings.features_port)),
        Service("features-worker", [python, "-m", "services.features", "worker"], env("FEATURES"),
                log("features-worker"), lambda: probes.ready(settings.worker_ops_port)),
        Service("gateway", [python, "-m", "gateway"], env("GATEWAY"), log("gateway"),
                lambda: probes.ready(settings.gateway_port)),
    ]  # fmt: skip
