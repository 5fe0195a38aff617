"""What remains of requests once they are answered."""

from __future__ import annotations

import gc

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.edge import Edge
from services.runtime.errors import invalid_field
from tests.support.waiting import eventually


def _requests() -> int:
    return sum(isinstance(one, web.Request) for one in gc.get_objects())


@pytest.mark.parametrize(("path", "status"), [("/bad", 400), ("/bug", 500), ("/unknown", 404)])
async def test_a_refused_request_goes_without_a_collection(path: str, status: int) -> None:
    """Collections are rare, and a body is up to a megabyte: a few hundred that wait for one fill the memory."""

    async def bad(request: web.Request) -> web.Response:
        await request.read()
        raise invalid_field("ids", "is bad")

    async def bug(request: web.Request) -> web.Response:
        raise KeyError(await request.read())

    app = web.Application(middlewares=[Edge(lambda: False).middleware()])
    app.router.add_post("/bad", bad)
    app.router.add_post("/bug", bug)
    async with TestServer(app) as server:
        gc.collect()
        gc.disable()
        try:
            client: TestClient[web.Request, None] = TestClient(server)
            async with client, client.post(path, data=b"body") as answer:
                assert answer.status == status
            await eventually(lambda: not _requests())
        finally:
            gc.enable()
