"""Uploads end clearly, whatever ends them."""

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as f
from windowshop.features.v1.features_pb2_grpc import FeatureServiceStub
from windowshop.recommender.v1 import catalog_pb2 as c
from windowshop_client import WindowshopError, connect
from windowshop_client.arrival import product_arrived
from windowshop_client.errors import translated
from windowshop_client.streams import upload
from windowshop_client.values import value_of

from tests.clients.fake_services import State
from tests.support.waiting import eventually


def events(count: int) -> Iterator[list[f.Event]]:
    for number in range(count):
        yield [f.Event(event_id=f"e{number}", event_type="search", user_id="u")]


async def test_progress_is_told_of_every_chunk(state: State, address: str) -> None:
    sent: list[int] = []
    async with connect(features=address, recommender=address) as client:
        answer = await client.import_events(events(7), sent=sent.append)
    assert answer.accepted == len(state.events) == 7
    assert sent == [1] * 7


async def test_a_server_that_ends_the_stream_is_quoted(state: State, address: str) -> None:
    state.fail_after_events = 3
    async with connect(features=address, recommender=address) as client:
        with pytest.raises(WindowshopError) as caught:
            await client.import_events(events(10_000))
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.reason == "EVENT_LOG_UNAVAILABLE"
    assert str(caught.value) == "EVENT_LOG_UNAVAILABLE: the event log is down"


async def test_a_source_that_breaks_cancels_the_upload(state: State, address: str) -> None:
    """A full import cut short must not look like a short catalogue."""
    state.products["old"] = c.Product(id="old")

    def broken() -> Iterator[list[c.Product]]:
        yield [c.Product(id="new")]
        raise OSError("disk")

    async with connect(features=address, recommender=address) as client:
        with pytest.raises(OSError, match="disk"):
            await client.import_products(broken(), full=True)

    async def settled() -> bool:
        return "new" in state.products or state.completed_imports == 0

    await eventually(settled, timeout=5)
    assert state.completed_imports == 0
    assert "old" in state.products


async def test_a_server_that_hangs_is_given_up() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = FeatureServiceStub(channel).ImportEvents()
        with (
            pytest.raises(WindowshopError, match="did not take a chunk within") as caught,
            translated("feature service"),
        ):
            await upload(call, (f.ImportEventsRequest(events=chunk) for chunk in events(10)), stall=0.2)
    assert caught.value.service == "feature service"


async def test_products_arrive_at_the_feature_service_or_are_not_waited_for_forever(state: State, address: str) -> None:
    state.knows_catalogue = False
    state.products["p"] = c.Product(id="p")
    async with connect(features=address, recommender=address) as client:
        assert not await product_arrived(client, "p", timeout=0.05)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(product_arrived(client, "p", timeout=10))
            state.knows_catalogue = True
        assert waiting.result()


def test_values_of_every_kind() -> None:
    assert value_of(f.FeatureValue()) is None
    assert value_of(f.FeatureValue(int_value=0)) == 0
    assert value_of(f.FeatureValue(string_value="")) == ""
    assert value_of(f.FeatureValue(string_list_value=f.StringList(values=["a", "b"]))) == ["a", "b"]
    table = f.Table(keys=["b", "a"], columns=["x", "y"], values=[1, 2, 3, 4])
    assert value_of(f.FeatureValue(table_value=table)) == {"b": {"x": 1, "y": 2}, "a": {"x": 3, "y": 4}}
    assert value_of(f.FeatureValue(table_value=f.Table(columns=["x"]))) == {}
    assert value_of(f.FeatureValue(vector_value=f.Vector(values=[0.5]))) == [0.5]
