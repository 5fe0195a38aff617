"""The gateway as a process: its ports, its signals, its exit."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.clients import FEATURES, RECOMMENDER
from tests.support.gateway import Backend, running_backend
from tests.support.gateway_answers import answers
from tests.support.stack import free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]


async def start(**environment: int | str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        cwd=ROOT,
        # Nobody reads the output while it runs: a line for each request would fill the pipe.
        env={
            **os.environ,
            "WINDOWSHOP_LOG_LEVEL": "error",
            **{name: str(value) for name, value in environment.items()},
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


@asynccontextmanager
async def running(backend: Backend) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, int]]:
    """The process with its public port and its ops port, ready."""
    port, ops_port = free_port(), free_port()
    async with (
        running_backend(backend, FEATURES) as features,
        running_backend(backend, RECOMMENDER) as recommender,
        aiohttp.ClientSession() as http,
    ):
        process = await start(
            GATEWAY_PORT=port,
            GATEWAY_OPS_PORT=ops_port,
            GATEWAY_FEATURES_ADDRESS=f"localhost:{features}",
            GATEWAY_RECOMMENDER_ADDRESS=f"localhost:{recommender}",
        )

        async def ready() -> bool:
            try:
                async with http.get(f"http://localhost:{port}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

        try:
            await eventually(ready, timeout=20)
            yield process, port, ops_port
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_a_drain_loses_no_request_in_flight() -> None:
    backend = Backend(answers())
    released = asyncio.Event()

    async def train(_: object) -> Any:
        await released.wait()
        return answers()["TrainModel"](None)

    backend.answers["TrainModel"] = train
    async with running(backend) as (process, port, ops_port), aiohttp.ClientSession() as http:
        async with http.get(f"http://localhost:{ops_port}/metrics") as answer:
            assert "http_request_duration_seconds" in await answer.text()
        training = asyncio.create_task(_post(http, f"http://localhost:{port}/v1/models:train"))
        await eventually(lambda: backend.requests)
        process.send_signal(signal.SIGTERM)

        async def refused() -> bool:
            async with http.get(f"http://localhost:{ops_port}/readyz") as answer:
                return answer.status == 503

        await eventually(refused)
        # Still welcome on the port while clients learn of it, and told not to come back.
        async with http.get(f"http://localhost:{port}/livez") as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")

        async def closed() -> bool:
            try:
                _, writer = await asyncio.open_connection("localhost", port)
            except ConnectionError:
                return True
            writer.close()
            return False

        await eventually(closed)
        assert process.returncode is None
        released.set()
        assert await training == 200
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def _post(http: aiohttp.ClientSession, url: str) -> int:
    async with http.post(url) as answer:
        return answer.status


async def test_a_steady_client_does_not_notice_a_drain() -> None:
    """Every request that was accepted is answered; only after the port is closed are connections refused."""
    async with running(Backend(answers())) as (process, port, _):
        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(_ask_until_refused(http, port, process) for _ in range(8)))
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def _ask_until_refused(http: aiohttp.ClientSession, port: int, process: asyncio.subprocess.Process) -> None:
    asked = 0
    while True:
        if asked == 20 and process.returncode is None:
            process.terminate()
        try:
            async with http.get(f"http://localhost:{port}/features/User/u") as answer:
                assert answer.status == 200
        except aiohttp.ClientConnectorError:
            assert asked > 20
            return
        asked += 1


async def test_a_taken_port_is_named() -> None:
    server = await asyncio.start_server(lambda *_: None, port=0)
    port = server.sockets[0].getsockname()[1]
    process = await start(GATEWAY_PORT=port, GATEWAY_OPS_PORT=free_port())
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    server.close()
    assert process.returncode == 1
    assert str(port) in output.decode()


async def test_bad_settings_are_all_named() -> None:
    process = await start(GATEWAY_PORT="http", GATEWAY_OPS_PORT=70000, GATEWAY_FEATURES_ADDRESS="")
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    for name in ("GATEWAY_PORT", "GATEWAY_OPS_PORT", "GATEWAY_FEATURES_ADDRESS"):
        assert name in output.decode()
