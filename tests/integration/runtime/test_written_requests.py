"""Requests whose bytes their caller has: the server reads the same, whichever way they go."""

from __future__ import annotations

import pytest
from windowshop.features.v1 import features_pb2 as pb

from tests.integration.runtime.test_streams import calling, echo, new, serving

pytestmark = pytest.mark.usefixtures("either_way")


@pytest.mark.parametrize("full", [False, True])
async def test_a_request_that_was_written_before_is_read_as_any_other(full: bool) -> None:
    asked = list[pb.ReadFeaturesRequest]()
    servicer = new(echo)
    read = servicer._read

    async def noted(request: pb.ReadFeaturesRequest, seconds: float) -> pb.ReadFeaturesResponse:
        asked.append(request)
        return await read(request, seconds)

    servicer._read = noted  # type: ignore[method-assign]
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        lane = calls._lanes[0]
        if full and lane._pipe is not None:
            lane._pipe.pause_writing()
        asked.clear()
        request = pb.BatchGetFeaturesRequest(entity="Product", ids=["a", "b"], features=["f"])
        written = pb.ReadFeaturesRequest(read=request).SerializeToString()
        await calls(request, timeout=5.0, sheet=True)
        await calls(request, timeout=5.0, sheet=True, written=written)
    plain, known = asked
    assert plain.read == known.read == request
    assert (known.number, known.sheet, known.timeout_ms) == (plain.number + 1, True, plain.timeout_ms)
