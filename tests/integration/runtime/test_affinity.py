"""Requests that one of several servers had best answer all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from windowshop.features.v1 import features_pb2 as pb

from services.runtime import streams
from services.runtime.affinity import AHEAD, server_for
from tests.integration.runtime.test_streams import Calls, ask, calling, echo, new, serving
from tests.support.waiting import eventually


def test_shares_are_equal_and_who_leaves_takes_their_own_along() -> None:
    three = dict.fromkeys(("one", "two", "three"), 0)
    people = [f"user_{number}" for number in range(3_000)]
    before = {person: server_for(person, three) for person in people}
    for server in three:
        assert 900 < sum(chosen == server for chosen in before.values()) < 1_100
    two = dict.fromkeys(("three", "one"), 0)
    after = {person: server_for(person, two) for person in people}
    assert {person for person in people if after[person] != before[person]} == {
        person for person, chosen in before.items() if chosen == "two"
    }


def test_nobody_and_somebody_alone() -> None:
    assert server_for("anybody", {}) is None
    assert server_for("anybody", {"one": 1_000}) == "one"


def test_who_is_far_ahead_is_spared() -> None:
    chosen = server_for("me", {"a": 0, "b": 0})
    other = "b" if chosen == "a" else "a"
    assert chosen is not None
    assert server_for("me", {chosen: AHEAD, other: 0}) == chosen
    assert server_for("me", {chosen: AHEAD + 1, other: 0}) == other


def first_letter(request: pb.BatchGetFeaturesRequest) -> str:
    return request.ids[0][:1]


@contextlib.asynccontextmanager
async def calling_both(port: int, other_port: int) -> AsyncIterator[Calls]:
    """Calls with streams to both servers. All are to one where the other is reached late."""
    while True:
        async with calling(port, other_port, count=8, affinity=first_letter) as calls:
            if len({lane.server for lane in calls._lanes}) == 2:
                yield calls
                return


async def test_what_belongs_together_goes_to_one_server_and_elsewhere_when_that_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the client: each of them chooses the same."""
    monkeypatch.setattr(streams, "RENEW_FIRST", 60.0)
    one, asked = new(echo), dict[str, list[bool]]()

    async def all_letters(calls: Calls) -> None:
        for letter in "abcdefghijklmnop":
            before = one.streamed
            assert await ask(calls, f"{letter}1") == f"{letter}1"
            asked.setdefault(letter, []).append(one.streamed > before)

    async with contextlib.AsyncExitStack() as staying, contextlib.AsyncExitStack() as leaving:
        _, other_port = await staying.enter_async_context(serving(new(echo)))
        _, port = await leaving.enter_async_context(serving(one))
        for _ in range(2):
            calls = await staying.enter_async_context(calling_both(port, other_port))
            await all_letters(calls)
            await all_letters(calls)
        assert {len(set(places)) for places in asked.values()} == {1}
        assert {places[0] for places in asked.values()} == {True, False}, "one server has all"
        await leaving.aclose()
        asked.clear()
        await all_letters(calls)
        assert {place for places in asked.values() for place in places} == {False}


async def test_who_has_much_to_do_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RENEW_FIRST", 60.0)
    gate = asyncio.Event()

    async def answering(text: str) -> str:
        await gate.wait()
        return text

    one, other = new(answering), new(answering)
    async with serving(one) as (_, port), serving(other) as (_, other_port):
        gate.set()
        async with calling_both(port, other_port) as calls:
            one.streamed = other.streamed = 0
            gate.clear()
            asked = [asyncio.create_task(ask(calls, f"a{number}")) for number in range(20)]
            await eventually(lambda: one.streamed + other.streamed == 20)
            # It is ahead by what waiting is worth, and no more.
            assert abs(one.streamed - other.streamed) <= AHEAD + 1
            assert min(one.streamed, other.streamed) > 0
            gate.set()
            assert await asyncio.gather(*asked) == [f"a{number}" for number in range(20)]
