"""A server and a client in a process of their own, where requests are refused or late and nothing is collected.

``python -m tests.integration.runtime.refusing beside|over`` fails when the requests stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from services.runtime import errors, streams
from tests.integration.runtime.test_streams import ask, calling, new, serving
from tests.support.machines import out_of_reach
from tests.support.waiting import eventually


async def refuse(text: str) -> str:
    if text == "late":
        await asyncio.Event().wait()
    raise errors.invalid_field("ids[0]", "is bad")


def kept() -> int:
    """Requests that are still there."""
    kinds = pb.ReadFeaturesRequest, pb.BatchGetFeaturesRequest
    return sum(type(one) in kinds for one in gc.get_objects())


async def main(way: str) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(streams, "_SILENCE", 60.0)  # who is late leaves the stream as it is
    if way == "over":
        patch.setattr(streams, "reach", out_of_reach)
    async with serving(new(refuse)) as (_, port), calling(port, count=1) as calls:
        gc.collect()
        gc.disable()
        for _ in range(20):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await ask(calls, "bad")
            with contextlib.suppress(grpc.aio.AioRpcError):
                await ask(calls, "late", timeout=0.01)
        await eventually(lambda: kept() < 8)  # the last ones written and read


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
