"""Chunks of many lines are stored without holding up anybody; idle imports are ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from services.features import servicer
from services.runtime.errors import from_rpc
from tests.support.features import FeatureServer, event

COUNT = "user_purchase_count_30d"


async def test_a_chunk_of_many_lines_leaves_reads_their_turn(server: FeatureServer) -> None:
    await server.write(event("purchase-complete", "u1", "p1"))
    products = [f"p{n}" for n in range(500)]
    # 200,000 lines: in one statement they would take longer than one may.
    chunk = pb.ImportEventsRequest(events=[event("detail-page-view", f"u{n}", *products) for n in range(400)])
    chunk.events.append(chunk.events[0])
    importing = asyncio.create_task(_import(server, chunk))
    answered = 0
    while not importing.done():
        assert (await server.get("User", "u1", COUNT)).features[COUNT].int_value == 1
        answered += 1
        await asyncio.sleep(0.01)  # a shopper every ten milliseconds
    summary = await importing
    assert (summary.accepted, summary.duplicates, summary.rejected, summary.unknown_products) == (400, 1, 0, 400)
    # The chunk takes many statements; between any two of them there is time for a read.
    assert answered > 20


async def _import(server: FeatureServer, *chunks: pb.ImportEventsRequest) -> pb.ImportEventsResponse:
    return await server.stub.ImportEvents(iter(chunks), timeout=120)


async def test_an_idle_import_is_ended(server: FeatureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicer, "CHUNK_SECONDS", 0.5)
    never = asyncio.Event()

    async def chunks() -> AsyncIterator[pb.ImportEventsRequest]:
        yield pb.ImportEventsRequest(events=[event("search", "u1")])
        await never.wait()

    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await server.stub.ImportEvents(chunks(), timeout=20)
    assert (failure.value.code(), from_rpc(failure.value).reason) == (grpc.StatusCode.ABORTED, "IMPORT_IDLE")
