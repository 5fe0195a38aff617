"""When a gateway that is ready reaches all of its services."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from deploy.local import probes
from deploy.local.probes import Answer


@dataclass
class Gateway:
    """Refuses pages so many times."""

    port: int = 0
    refusals: dict[str, float] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        if self.refusals.get(request.path, 0) > 0:
            self.refusals[request.path] -= 1
            return web.json_response({"code": "UNAVAILABLE"}, status=503)
        return web.json_response({}, status=404 if request.path.startswith("/features") else 200)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Behind a real port."""
    made, application = Gateway(), web.Application()
    runner = web.AppRunner(application)
    application.router.add_get("/{path:.*}", made.answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/features/User/nobody", "/v1/models"])
async def test_each_service_is_waited_for(gateway: Gateway, path: str) -> None:
    assert await probes.ready(gateway.port)
    gateway.refusals[path] = 2
    assert await probes.reached(gateway.port, 30.0) is None
    assert gateway.refusals[path] == 0


@pytest.mark.parametrize("path", ["/features/User/nobody", "/v1/models"])
async def test_one_that_is_not_reached_is_named(gateway: Gateway, path: str) -> None:
    gateway.refusals[path] = float("inf")
    assert await probes.reached(gateway.port, 0.0) == (path, Answer(503, {"code": "UNAVAILABLE"}))
