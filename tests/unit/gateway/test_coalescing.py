"""Reads that come while others are under way share a call, and nobody can tell from the answers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import grpc
import msgspec
import pytest
import structlog
from windowshop.features.v1 import features_pb2 as pb

from gateway import coalescing
from gateway.coalescing import LANES, MOST, CoalescedReads
from gateway.transcoding.features import feature_values
from gateway.transcoding.singles import singles
from services.features import transcoding
from services.features.definitions import load
from services.features.domain.features import Feature, FeatureType, Reading, Status, Table
from services.runtime.interceptors import current_request_id
from tests.support.columns import batch_of
from tests.support.waiting import eventually
from tests.unit.features.test_values import feature


class Service:
    """Answers when told; ids that begin with "no" are unknown, with "bad" not taken."""

    def __init__(self) -> None:
        self.alone: list[str] = []
        self.timeouts: list[float] = []
        self.together: list[list[str]] = []
        self.request_ids: list[str | None] = []
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
        self.request_ids.append(current_request_id())
        try:
            async with asyncio.timeout(timeout):
                await self.gate.wait()
        except TimeoutError:
            raise failure(grpc.StatusCode.DEADLINE_EXCEEDED, "late") from None
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


Read = Callable[..., "asyncio.Task[bytes]"]


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def service() -> Service:
    return Service()


def reader(service: Service, seconds: float = 5.0) -> Read:
    # However late this loop comes on a busy machine, it is not what is tested.
    reads = CoalescedReads(service.one, service.many, seconds, lag=60.0)

    def start(entity_id: str, *features: str) -> asyncio.Task[bytes]:
        return asyncio.create_task(reads.read(pb.GetFeaturesRequest(entity="User", id=entity_id, features=features)))

    return start


@pytest.fixture
def read(service: Service) -> Read:
    return reader(service)


async def fill(read: Read) -> list[asyncio.Task[bytes]]:
    """Every lane has a batch."""
    started = []
    for n in range(LANES):
        started.append(read(f"first{n}"))
        await turns()
    return started


def ids(answers: list[bytes]) -> list[str]:
    return [json.loads(answer)["features"]["f"] for answer in answers]


async def test_what_comes_in_one_turn_goes_together_and_at_once(service: Service, read: Read) -> None:
    service.gate.set()
    assert ids(await asyncio.gather(*(read(i) for i in ("a", "b", "a", "c")))) == ["a", "b", "a", "c"]
    assert (service.alone, service.together) == ([], [["a", "b", "c"]])


async def test_what_comes_in_another_turn_does_not_wait_for_it(service: Service, read: Read) -> None:
    first = await fill(read)
    assert service.together == [[f"first{n}"] for n in range(LANES)]
    service.gate.set()
    await asyncio.gather(*first)


async def test_with_every_lane_taken_reads_wait_for_the_next_batch(service: Service, read: Read) -> None:
    first = await fill(read)
    more = []
    for i in ("a", "b", "a", "c"):
        more.append(read(i))
        await turns()
    assert len(service.together) == LANES
    service.gate.set()
    assert ids(await asyncio.gather(*first, *more)) == [*(f"first{n}" for n in range(LANES)), "a", "b", "a", "c"]
    assert service.together[LANES:] == [["a", "b", "c"]]


async def test_a_batch_has_its_bounds(service: Service, read: Read) -> None:
    service.gate.set()
    await asyncio.gather(*(read(f"{n}") for n in range(MOST + 10)))
    assert [len(batch) for batch in service.together] == [MOST, 10]


async def test_other_features_are_other_batches(service: Service, read: Read) -> None:
    service.gate.set()
    await asyncio.gather(read("a", "f"), read("b"), read("c"))
    assert sorted(service.together) == [["a"], ["b", "c"]]


async def test_one_that_is_not_found_touches_no_other(service: Service, read: Read) -> None:
    service.gate.set()
    a, nobody, b = await asyncio.gather(*(read(i) for i in ("a", "nobody", "b")), return_exceptions=True)
    assert isinstance(a, bytes)
    assert isinstance(b, bytes)
    assert isinstance(nobody, grpc.aio.AioRpcError)
    assert (nobody.code(), nobody.details()) == (grpc.StatusCode.NOT_FOUND, "nobody")  # the single read's words
    assert service.alone == ["nobody"]


async def test_a_batch_that_fails_is_asked_one_by_one(service: Service, read: Read) -> None:
    service.gate.set()
    a, bad, b = await asyncio.gather(*(read(i) for i in ("a", "bad", "b")), return_exceptions=True)
    assert isinstance(a, bytes)
    assert isinstance(b, bytes)
    assert isinstance(bad, grpc.aio.AioRpcError)
    assert bad.details() == "bad"


async def test_what_lacks_a_store_is_asked_one_by_one(service: Service, read: Read) -> None:
    service.degraded = ["online-store"]
    service.gate.set()
    answers = await asyncio.gather(read("a"), read("b"))
    assert [json.loads(answer)["degraded"] for answer in answers] == [["online-store"]] * 2
    await asyncio.gather(*(read(f"again{n}") for n in range(2 * LANES)))
    assert len(service.together) == 1


async def test_after_a_degraded_answer_nobody_waits_for_others(service: Service, read: Read) -> None:
    first = await fill(read)
    waiting = read("waits")
    await turns()
    service.degraded = ["event-log"]
    service.gate.set()
    await asyncio.gather(*first, waiting)
    assert len(service.together) == LANES  # the one that waited went alone
    service.gate.clear()
    more = [read(f"more{n}") for n in range(2 * LANES)]
    await turns()
    assert len(service.alone) == LANES + 1 + 2 * LANES
    service.gate.set()
    await asyncio.gather(*more)
    assert len(service.together) == LANES


async def test_who_leaves_takes_no_lane_along(service: Service, read: Read) -> None:
    first = await fill(read)
    gone, stays = read("gone"), read("stays")
    await turns()
    gone.cancel()
    for task in first:
        task.cancel()
    await turns()
    service.gate.set()
    assert ids([await stays]) == ["stays"]
    assert ids([await read("later")]) == ["later"]
    assert service.together[-1] == ["later"]


async def test_a_batch_that_hangs_leaves_its_reads_time_to_go_alone(service: Service) -> None:
    read = reader(service, seconds=0.2)
    waits = read("a")
    await eventually(lambda: service.alone == ["a"])
    assert 0 < service.timeouts[0] < 0.15  # what the batch took counts
    service.gate.set()
    assert ids([await waits]) == ["a"]
    await read("b")
    assert service.together == [["a"]]  # for a while, nobody waits for others


async def test_a_loop_that_comes_late_tries_batches_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, reads cost many times as much: whatever holds the loop would be made worse."""
    monkeypatch.setattr(coalescing, "_ALONE", 60.0)
    reads = CoalescedReads(service.one, service.many, 5.0, lag=0.1)
    reads._part_for_time(0.0)
    assert not reads.together()
    time.sleep(0.2)  # noqa: ASYNC251 - what holds the loop
    await eventually(reads.together)


async def test_a_batch_whose_time_went_by_in_the_gateway_parts_nobody(service: Service) -> None:
    reads = CoalescedReads(service.one, service.many, 0.2, lag=0.3)
    waits = asyncio.create_task(reads.read(pb.GetFeaturesRequest(entity="User", id="a")))
    await eventually(lambda: service.together == [["a"]])
    time.sleep(0.5)  # noqa: ASYNC251 - as above
    await eventually(lambda: service.alone == ["a"])
    assert reads.together()
    service.gate.set()
    await waits


async def test_an_answer_that_cannot_be_taken_is_no_other_reads_affair(service: Service) -> None:
    reads, bodies = CoalescedReads(service.one, service.many, 5.0), list[bytes | None]()

    def broken(body: bytes | None) -> None:
        raise RuntimeError("closed")

    service.gate.set()
    reads.ask(("User", ("f",)), "a", broken, None)
    reads.ask(("User", ("f",)), "b", bodies.append, None)
    await eventually(lambda: bodies)
    assert json.loads(bodies[0] or b"")["id"] == "b"


async def test_one_alone_in_a_batch_keeps_its_request_id(service: Service, read: Read) -> None:
    service.gate.set()
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        await read("a")
        await asyncio.gather(read("a"), read("b"))
    assert service.request_ids == ["abc", None]


async def test_kinds_leave_nothing_behind(service: Service) -> None:
    reads = CoalescedReads(service.one, service.many, 5.0)
    service.gate.set()
    await asyncio.gather(*(reads.read(pb.GetFeaturesRequest(entity=f"E{n}", id="a")) for n in range(10)))
    assert not reads._groups


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
@pytest.mark.parametrize("asked", [True, False])
def test_a_row_of_a_batch_is_the_single_answer(kind: FeatureType, value: Any, status: Status, asked: bool) -> None:
    one, now_ms = declared(kind), 1_700_000_001_000
    two = dataclasses.replace(one, name="a" + one.name)
    answer = Reading(None if status is Status.NULL else value, status, 1_699_999_999_877)
    alone = [pb.GetFeaturesResponse(entity="User", id=entity_id) for entity_id in ("a", "b")]
    for single in alone:
        for each in (one, two):
            single.features[each.name].CopyFrom(transcoding.feature_value(each, answer, now_ms))
    names = [one.name, two.name] if asked else []
    # A service's columns come in the order of its definitions when none were named.
    whole = pb.BatchGetFeaturesRequest(entity="User", ids=["a", "b"], features=[one.name, two.name])
    batch = batch_of(whole, alone)
    request = pb.GetFeaturesRequest(entity="User", id="b", features=names)
    assert singles(batch, asked, now_ms)["b"] == msgspec.json.encode(feature_values(alone[1], request))


def test_every_type_is_covered() -> None:
    assert {kind for kind, _ in VALUES} == set(FeatureType) >= {f.type for f in load().features}
