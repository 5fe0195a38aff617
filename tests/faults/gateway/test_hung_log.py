"""Reads that share calls keep their own time, also behind those that wait for a PostgreSQL that hangs."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import grpc
from windowshop.features.v1 import features_pb2 as pb

from gateway.coalescing import LANES, CoalescedReads
from tests.support.features import event, running_server
from tests.support.proxy import running_proxy
from tests.support.stack import PostgresServer, ValkeyServer

COUNT = "user_purchase_count_30d"


async def test_nobody_misses_the_deadline_behind_others(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    dsn = await postgres.create_database("features")
    target = urlsplit(dsn).port
    assert target is not None
    async with (
        running_proxy(target) as proxy,
        # As it is set in production: a statement has ten seconds.
        running_server(dsn.replace(f":{target}/", f":{proxy.port}/"), valkey.url) as server,
    ):
        reads = CoalescedReads(server.stub.GetFeatures, server.stub.BatchGetFeatures, 1.0)

        async def read(user: str) -> tuple[int, str, list[str]]:
            request = pb.GetFeaturesRequest(entity="User", id=user, features=[COUNT])
            answer = json.loads(await reads.read(request))
            return answer["features"][COUNT], answer["metadata"][COUNT]["status"], answer.get("degraded", [])

        dirty = [f"dirty{n}" for n in range(LANES + 5)]
        good = [f"good{n}" for n in range(5)]
        await server.write(*(event("purchase-complete", user, "p1", revenue=4.0) for user in [*dirty, *good]))
        await server.batch("User", [*dirty, *good], COUNT)
        await server.write(*(event("purchase-complete", user, "p1", revenue=4.0) for user in dirty))
        proxy.stall()
        answers = await asyncio.gather(*map(read, [*dirty, *good]), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError | TimeoutError)]
        assert failures == []
        assert answers == [(1, "STALE", ["event-log"])] * len(dirty) + [(1, "PRESENT", [])] * len(good)
        proxy.flow()
