"""Reads that come while others are under way share a call, and nobody can tell from the answers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from gateway.coalescing import LANES, CoalescedReads
from gateway.transcoding.rows import rows
from services.features import transcoding
from services.features.definitions import load
from services.features.domain.features import Feature, FeatureType, Reading, Status, Table
from tests.support.waiting import eventually
from tests.unit.features.test_values import feature


class Service:
    """Answers when told; ids that begin with "no" are unknown, with "bad" not taken."""

    def __init__(self) -> None:
        self.alone: list[str] = []
        self.timeouts: list[float] = []
        self.together: list[list[str]] = []
        self.gate = asyncio.Event()
        self.degraded: list[str] = []

    async def one(self, request: pb.GetFeaturesRequest, *, timeout: float) -> pb.GetFeaturesResponse:
        self.alone.append(request.id)
        self.timeouts.append(timeout)
        await self.gate.wait()
        if request.id.startswith(("no", "bad")):
            code = grpc.StatusCode.NOT_FOUND if request.id.startswith("no") else grpc.StatusCode.INVALID_ARGUMENT
            raise failure(code, request.id)
        value = pb.FeatureValue(string_value=request.id, status=pb.PRESENT)
        return pb.GetFeaturesResponse(
            entity=request.entity, id=request.id, features={"f": value}, degraded=self.degraded
        )

    async def many(self, request: pb.BatchGetFeaturesRequest, *, timeout: float) -> pb.BatchGetFeaturesResponse:
        self.together.append(list(request.ids))
        await self.gate.wait()
        if any(i.startswith("bad") for i in request.ids):
            raise failure(grpc.StatusCode.INVALID_ARGUMENT, "ids[0]")
        statuses = [pb.NOT_FOUND if i.startswith("no") else pb.PRESENT for i in request.ids]
        column = pb.FeatureColumn(
            feature="f", type=pb.STRING, statuses=statuses, string_values=request.ids,
            computed_at_ms=[0] * len(statuses),
        )  # fmt: skip
        return pb.BatchGetFeaturesResponse(
            entity=request.entity, ids=request.ids, columns=[column], degraded=self.degraded
        )


def failure(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


Read = Callable[..., "asyncio.Task[pb.GetFeaturesResponse]"]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def read(service: Service) -> Read:
    reads = CoalescedReads(service.one, service.many)

    def start(entity_id: str, *features: str, timeout: float = 5.0) -> asyncio.Task[pb.GetFeaturesResponse]:
        request = pb.GetFeaturesRequest(entity="User", id=entity_id, features=features)
        return asyncio.create_task(reads(request, timeout=timeout))

    return start


async def fill(read: Read) -> list[asyncio.Task[pb.GetFeaturesResponse]]:
    """Every lane has a read of its own."""
    started = [read(f"first{n}") for n in range(LANES)]
    await turns()
    return started


def ids(answers: list[pb.GetFeaturesResponse]) -> list[str]:
    return [answer.features["f"].string_value for answer in answers]


async def test_a_read_alone_is_sent_as_it_is_and_at_once(service: Service, read: Read) -> None:
    service.gate.set()
    assert ids([await read("a"), await read("b")]) == ["a", "b"]
    assert (service.alone, service.together) == (["a", "b"], [])


async def test_what_comes_meanwhile_goes_together(service: Service, read: Read) -> None:
    first = await fill(read)
    more = [read(i) for i in ("a", "b", "a", "c")]
    await turns()
    assert len(service.alone) == LANES
    service.gate.set()
    assert ids(await asyncio.gather(*first, *more)) == [*(f"first{n}" for n in range(LANES)), "a", "b", "a", "c"]
    assert (len(service.alone), service.together) == (LANES, [["a", "b", "c"]])


async def test_other_features_are_other_calls(service: Service, read: Read) -> None:
    first = await fill(read)
    more = [read("a", "f"), read("b")]
    await turns()
    assert service.alone[LANES:] == ["a"]
    service.gate.set()
    await asyncio.gather(*first, *more)
    assert service.together == [["b"]]


async def test_one_that_is_not_found_touches_no_other(service: Service, read: Read) -> None:
    first = await fill(read)
    more = [read(i) for i in ("a", "nobody", "b")]
    await turns()
    service.gate.set()
    a, nobody, b = await asyncio.gather(*more, return_exceptions=True)
    await asyncio.gather(*first)
    assert isinstance(a, pb.GetFeaturesResponse)
    assert isinstance(b, pb.GetFeaturesResponse)
    assert isinstance(nobody, grpc.aio.AioRpcError)
    assert (nobody.code(), nobody.details()) == (grpc.StatusCode.NOT_FOUND, "nobody")  # the single read's words
    assert service.alone[LANES:] == ["nobody"]


async def test_a_batch_that_fails_is_asked_one_by_one(service: Service, read: Read) -> None:
    first = await fill(read)
    more = [read(i) for i in ("a", "bad", "b")]
    await turns()
    service.gate.set()
    a, bad, b = await asyncio.gather(*more, return_exceptions=True)
    await asyncio.gather(*first)
    assert isinstance(a, pb.GetFeaturesResponse)
    assert isinstance(b, pb.GetFeaturesResponse)
    assert isinstance(bad, grpc.aio.AioRpcError)
    assert bad.details() == "bad"


async def test_what_lacks_a_store_is_asked_one_by_one(service: Service, read: Read) -> None:
    first = await fill(read)
    service.degraded = ["online-store"]
    more = [read(i) for i in ("a", "b")]
    await turns()
    service.gate.set()
    assert [list(answer.degraded) for answer in await asyncio.gather(*more)] == [["online-store"]] * 2
    await asyncio.gather(*first)
    again = [read(f"again{n}") for n in range(2 * LANES)]
    await asyncio.gather(*again)
    assert len(service.together) == 1


async def test_who_leaves_takes_no_lane_along(service: Service, read: Read) -> None:
    first = await fill(read)
    gone, stays = read("gone"), read("stays")
    await turns()
    gone.cancel()
    for task in first:
        task.cancel()
    await turns()
    assert service.together == [["stays"]]
    service.gate.set()
    assert ids([await stays]) == ["stays"]
    assert ids([await read("later")]) == ["later"]
    assert service.alone[-1] == "later"


async def test_after_a_degraded_answer_nobody_waits_for_others(service: Service, read: Read) -> None:
    first = await fill(read)
    service.degraded = ["event-log"]
    service.gate.set()
    await asyncio.gather(*first)
    service.gate.clear()
    more = [read(f"more{n}") for n in range(2 * LANES)]
    await turns()
    assert len(service.alone) == 3 * LANES
    service.gate.set()
    await asyncio.gather(*more)
    assert service.together == []


async def test_who_waits_for_long_goes_alone_in_time(service: Service, read: Read) -> None:
    first = await fill(read)
    waits = read("a", timeout=0.05)
    await eventually(lambda: len(service.alone) > LANES)
    assert service.alone[LANES:] == ["a"]
    assert service.timeouts[LANES] < 0.05  # waiting counts
    service.gate.set()
    assert ids(await asyncio.gather(*first, waits))[-1] == "a"
    await turns()
    assert service.together == []


def declared(kind: FeatureType, default: Any = None) -> Feature:

    return dataclasses.replace(feature(1), type=kind, default=default)


VALUES: list[tuple[FeatureType, Any]] = [
    (FeatureType.INT, 0),
    (FeatureType.DOUBLE, 1.5),
    (FeatureType.STRING, ""),
    (FeatureType.BOOL, False),
    (FeatureType.TIMESTAMP, 1_700_000_000_123),
    (FeatureType.VECTOR, [1.0, 2.5]),
    (FeatureType.STRING_LIST, []),
    (FeatureType.TABLE, Table(("a",), ("share",), (1.0,))),
]


@pytest.mark.parametrize(("kind", "value"), VALUES)
@pytest.mark.parametrize("status", [Status.PRESENT, Status.STALE, Status.DEFAULT, Status.NULL])
def test_a_row_of_a_batch_is_the_single_answer(kind: FeatureType, value: Any, status: Status) -> None:
    one, now_ms = declared(kind), 1_700_000_001_000
    answers = [Reading(None if status is Status.NULL else value, status, 1_699_999_999_877)] * 2
    batch = pb.BatchGetFeaturesResponse(
        entity="User", ids=["a", "b"], columns=[transcoding.feature_column(one, answers)], degraded=[]
    )
    single = pb.GetFeaturesResponse(entity="User", id="b")
    single.features[one.name].CopyFrom(transcoding.feature_value(one, answers[1], now_ms))
    assert rows(batch, now_ms)["b"] == single


def test_every_type_is_covered() -> None:
    assert {kind for kind, _ in VALUES} == set(FeatureType) >= {f.type for f in load().features}
