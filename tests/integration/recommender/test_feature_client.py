"""What the recommender reads of shoppers, over real gRPC: together, alone, and when there is nothing to be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from services.recommender.clients import FeatureClient
from services.recommender.domain.signals import UserSignals
from services.runtime.client import channel
from services.runtime.errors import ServiceError
from tests.support.feature_service import FakeFeatures, User, running_features
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Connected:
    features: FakeFeatures
    client: FeatureClient


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    async with running_features() as server, channel(server.address) as connection:
        client = FeatureClient(connection)
        try:
            yield Connected(server.features, client)
        finally:
            await client.close()


async def test_a_shopper_is_read_whole(connected: Connected) -> None:
    connected.features.users["u"] = User("Audio", "low", ["v1", "v2"], ["c1"], ["p1", "p2"])
    reading = await connected.client.user("u", 5)
    signals = reading.signals
    assert reading.complete
    assert (signals.browsing_category, signals.price_sensitivity) == ("Audio", "low")
    assert (signals.recent_views, signals.recent_carts) == (("v1", "v2"), ("c1",))
    assert (signals.bought, signals.purchases) == (("p1", "p2"), ("p1", "p2"))
    assert signals.bought_table.shape == (2, 4)
    assert signals.bought_table[:, 3].tolist() == [1.0, 0.99]


async def test_rows_say_what_columns_say_and_are_read_once(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.feature_service.time", SimpleNamespace(time=lambda: 1_795_435_200.0))
    people = connected.features.users
    people |= {"u": User("Audio", "low", ["v1", "v2"], ["c1"], ["p1", "p2"]), "none": User(None, "", [], [], [])}
    asked = ("u", "none", "stranger", "u")

    async def read() -> list[UserSignals]:
        return [(await connected.client.user(id_, 5)).signals for id_ in asked]

    await eventually(lambda: _streaming(connected))
    rows, again = await read(), await read()
    assert [one is other for one, other in zip(rows, again, strict=True)] == [True] * 4
    assert connected.client.forget(None) == 0
    anew = await read()
    assert anew == rows
    assert [one is other for one, other in zip(rows, anew, strict=True)] == [False] * 4, "nothing was left of anybody"
    connected.features.knows_sheets = False
    columns = await read()
    assert columns == rows
    assert columns[0] is not rows[0]
    assert columns[0].bought_table.tolist() == rows[0].bought_table.tolist()
    connected.features.knows_sheets = True
    people["u"].views.insert(0, "v3")
    assert (await read())[0].recent_views == ("v3", "v1", "v2")
    connected.features.lost.add("u")
    with pytest.raises(ServiceError):
        await connected.client.user("u", 5)
    connected.features.degraded = ["event-log"]
    assert not (await connected.client.user("none", 5)).complete


async def _streaming(connected: Connected) -> bool:
    """Whether reads go over the stream by now; the first ones are calls."""
    await connected.client.user("somebody", 5)
    return connected.features.streamed > 0


async def test_who_is_unknown_has_empty_signals(connected: Connected) -> None:
    connected.features.guests["same"] = User("Garden")
    assert (await connected.client.user("same", 5)).signals == UserSignals()
    assert (await connected.client.guest("same", 5)).signals.browsing_category == "Garden"


async def test_those_of_one_turn_share_a_message_and_each_gets_their_own(connected: Connected) -> None:
    for number in range(8):
        connected.features.users[f"u{number}"] = User(None, "medium", [f"v{number}"])
    await connected.client.user("u0", 5)
    connected.features.batches.clear()
    wanted = [f"u{number}" for number in (*range(8), 3, 3)]
    readings = await asyncio.gather(*(connected.client.user(id_, 5) for id_ in wanted))
    assert [reading.signals.recent_views for reading in readings] == [(f"v{id_[1:]}",) for id_ in wanted]
    assert connected.features.batches == [[f"u{number}" for number in range(8)]]


async def test_who_gives_up_takes_nobody_along(connected: Connected) -> None:
    connected.features.users["b"] = User("Audio")
    first, second = (asyncio.create_task(connected.client.user(id_, 5)) for id_ in "ab")
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).signals.browsing_category == "Audio"


async def test_what_cannot_be_had_is_no_stranger(connected: Connected) -> None:
    connected.features.users |= {"lost": User("Audio"), "other": User("Audio")}
    connected.features.lost.add("lost")
    lost, other = await asyncio.gather(
        connected.client.user("lost", 5), connected.client.user("other", 5), return_exceptions=True
    )
    assert isinstance(lost, ServiceError)
    assert lost.reason == "FEATURES_UNAVAILABLE"
    assert not isinstance(other, BaseException)
    assert other.signals.browsing_category == "Audio"


async def test_a_service_that_hangs_costs_the_time_given(connected: Connected) -> None:
    connected.features.hang = True
    outcomes = await asyncio.gather(*(connected.client.user(id_, 0.05) for id_ in "ab"), return_exceptions=True)
    connected.features.hang = False
    assert [outcome.code.name for outcome in outcomes if isinstance(outcome, ServiceError)] == ["DEADLINE_EXCEEDED"] * 2


async def test_a_message_of_the_log_comes_in_parts_that_are_small_for_the_event_loop(connected: Connected) -> None:
    connected.features.rows += [("u", f"p{number}", "detail-page-view", number) for number in range(2_500)]
    chunks = [chunk async for chunk in connected.client.interactions()]
    assert max(len(chunk.user_ids) for chunk in chunks) <= 1_000
    assert [id_ for chunk in chunks for id_ in chunk.product_ids] == [f"p{number}" for number in range(2_500)]
    assert [time for chunk in chunks for time in chunk.event_times_ms] == list(range(2_500))


async def test_a_reader_of_the_log_who_goes_in_between_ends_the_call(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected.features.rows += [("u", f"p{number}", "detail-page-view", number) for number in range(2_500)]
    ended: list[bool] = []
    call = connected.client._stub.ReadTrainingRows

    class Call(SimpleNamespace):
        def __aiter__(self) -> Any:
            return self.made.__aiter__()

        def cancel(self) -> None:
            ended.append(self.made.cancel())

    monkeypatch.setattr(connected.client._stub, "ReadTrainingRows", lambda *a, **o: Call(made=call(*a, **o)))
    chunks: Any = connected.client.interactions()
    await anext(chunks)
    assert not ended
    await chunks.aclose()
    assert ended
