"""`python -m bench hop`: a message there and back between two of our processes, beside their stream and over it.

The server is a process of its own that answers what it made beforehand: the size of 200 products in rows. Nothing is
read, so all of it is the way. In turns; processor time of both ends, and the time until the answer is here.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import click
import uvloop
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from bench.processes import cpu_seconds
from bench.results import FOLDER, circumstances, publish
from bench.scenarios import BATCH, PRODUCT_FEATURES
from services.runtime import exchanges, logs, streams
from services.runtime.client import channel
from services.runtime.server import Server
from services.runtime.streams import StreamedCalls
from tests.support.machines import out_of_reach
from tests.support.stack import free_port
from tests.support.waiting import eventually

UNDER_WAY = (1, 8)
"""Messages at once."""
_NAME = pb.DESCRIPTOR.services_by_name["FeatureService"].full_name
_ASKED = pb.BatchGetFeaturesRequest(
    entity="Product", ids=[f"prod_{n:07}" for n in range(BATCH)], features=PRODUCT_FEATURES
)
_ROW = pb.FeatureRow(
    statuses=[pb.PRESENT] * 2, computed_at_ms=[1 << 40] * 2, double_values=[4.5], string_values=["in_stock"]
)
_SHEET = pb.FeatureSheet(rows=[_ROW.SerializeToString()] * BATCH)
_MOVING = pb.FeatureColumn(statuses=[pb.PRESENT] * BATCH, computed_at_ms=[1 << 40] * BATCH)
_ANSWER = pb.BatchGetFeaturesResponse(columns=[_MOVING], doubles=[bytes(8 * BATCH)], sheet=_SHEET.SerializeToString())


class Servicer(rpc.FeatureServiceServicer):
    """Has the answer."""

    async def ReadFeatures(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.ReadFeaturesResponse]:
        async def answer(request: pb.ReadFeaturesRequest, seconds: float) -> pb.ReadFeaturesResponse:
            return pb.ReadFeaturesResponse(number=request.number, answer=_ANSWER)

        def refused(request: pb.ReadFeaturesRequest, error: bytes) -> pb.ReadFeaturesResponse:
            return pb.ReadFeaturesResponse(number=request.number, error=error)

        async for response in exchanges.answers(request_iterator, answer, refused):
            yield response


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Of each measurement.")
@click.option("--output", default=FOLDER / "hop.json", show_default=True, type=click.Path(path_type=Path))
def command(rounds: int, seconds: float, output: Path) -> None:
    """Measures a message between two processes, beside the stream that stays open and over it."""
    about = circumstances()
    logs.configure("bench", "warning", "console")  # streams are tried before the server is there
    publish({**uvloop.run(measured(rounds, seconds)), "rounds": rounds, **about}, output)


async def measured(rounds: int, seconds: float) -> dict[str, Any]:
    """Medians of the rounds, in microseconds, by way and by messages at once."""
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.hop", str(port), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(rounds):
            for way in ("beside", "over"):
                async with calling(port, way == "beside") as calls:
                    for many in UNDER_WAY:
                        found.setdefault((way, many), []).append(await closed_loop(calls, child.pid, many, seconds))
    finally:
        child.kill()
        await child.wait()
    return {
        f"{way}_{many}": {what: round(median(sample[what] for sample in samples), 1) for what in samples[0]}
        for (way, many), samples in found.items()
    }


@contextlib.asynccontextmanager
async def calling(port: int, beside: bool) -> AsyncIterator[StreamedCalls[Any, Any]]:
    with contextlib.nullcontext() if beside else patch.object(streams, "reach", out_of_reach):
        async with channel(f"127.0.0.1:{port}") as connected:
            stub = rpc.FeatureServiceStub(connected)
            calls = StreamedCalls[Any, Any](
                stub.ReadFeatures, stub.BatchGetFeatures,
                lambda request, **fields: pb.ReadFeaturesRequest(read=request, **fields),
                lambda response: response.answer, parse=pb.ReadFeaturesResponse.FromString,
            )  # fmt: skip
            calls._start()
            await eventually(lambda: all(lane.open for lane in calls._lanes), timeout=30)
            try:
                yield calls
            finally:
                await calls.close()


async def closed_loop(calls: StreamedCalls[Any, Any], server: int, many: int, seconds: float) -> dict[str, float]:
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def ask() -> None:
        while (started := time.perf_counter()) < end:
            await calls(_ASKED, timeout=5.0, sheet=True)
            took.append(time.perf_counter() - started)

    ours, theirs = time.process_time(), cpu_seconds(server)
    await asyncio.gather(*(ask() for _ in range(many)))
    client, other = (spent / len(took) * 1e6 for spent in (time.process_time() - ours, cpu_seconds(server) - theirs))
    return {"p50_us": median(took) * 1e6, "client_cpu_us": client, "server_cpu_us": other}


async def serve(port: int) -> None:
    """Until it is killed."""
    server = Server(port, [_NAME], lambda made: rpc.add_FeatureServiceServicer_to_server(Servicer(), made))  # type: ignore[abstract]  # one method is called
    await server.start()
    await server.health.set_serving(True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
