"""Questions to running services: are you ready, what do you answer."""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# A question to each service behind the gateway, and what they say of it: 404 of somebody who is unknown.
_BEHIND = ("/features/User/nobody", "/v1/models")
_REACHED = (200, 404)
# Ours is the only traffic: an answer takes milliseconds, but on a busy machine also a second.
_TIMEOUT = 5.0
_CHANNEL = (
    ("grpc.enable_http_proxy", 0),
    # The shared pool would remember that the server was not there yet and wait before it looks again.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """HTTP status (0: nobody answered) and the body, as JSON when it is."""

    status: int
    body: Any = None


async def serving(port: int) -> bool:
    """Whether the gRPC server on the port says SERVING."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_CHANNEL) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def get(url: str) -> Answer:
    """The answer to GET."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as session,
            session.get(url) as response,
        ):
            is_json = "json" in response.content_type
            return Answer(response.status, await (response.json(content_type=None) if is_json else response.text()))
    except (OSError, TimeoutError, ValueError, aiohttp.ClientError):
        return Answer(0)


async def ready(port: int) -> bool:
    """Whether `/readyz` on the port says yes."""
    return (await get(f"http://127.0.0.1:{port}/readyz")).status == 200


async def reached(port: int, patience: float) -> tuple[str, Answer] | None:
    """Returns when the gateway on the port reaches each service, None; after ``patience`` seconds the path of one that
    it does not, and its answer.

    It is ready when it reaches some of them, as it should be where one has failed; and looks again for one that was not
    there a second later.
    """
    deadline = asyncio.get_running_loop().time() + patience
    for path in _BEHIND:
        while (answer := await get(f"http://127.0.0.1:{port}{path}")).status not in _REACHED:
            if asyncio.get_running_loop().time() > deadline:
                return path, answer
            await asyncio.sleep(0.1)
    return None
