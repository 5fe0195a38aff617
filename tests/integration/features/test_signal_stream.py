"""The client of the catalogue's change stream against a real gRPC server."""

import pytest

from services.features import clients
from services.features.clients import StreamProductSignals
from services.features.signal_ports import SourceDownError
from services.runtime.client import channel
from tests.support.streamed_catalogue import running_catalogue, signal


async def test_a_stream_at_the_end_of_its_life_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_LIFETIME", 0.5)
    async with running_catalogue() as catalogue, channel(catalogue.address) as recommender:
        await catalogue.put(signal("p"))
        source = StreamProductSignals(recommender)
        first = [page async for page in source.follow("")]
        assert [one.product_id for page in first for one in page.signals] == ["p"]
        again = [page async for page in source.follow(first[-1].cursor)]
    assert not any(page.signals for page in again)
    assert catalogue.cursors == ["", first[-1].cursor]


async def test_a_catalogue_that_is_not_there_is_down() -> None:
    async with running_catalogue() as catalogue:
        pass
    async with channel(catalogue.address) as recommender:
        with pytest.raises(SourceDownError):
            async for _ in StreamProductSignals(recommender).follow(""):
                pass
