"""Streams whose messages go beside them, and streams that carry them."""

from __future__ import annotations

import pytest

from services.runtime import streams


@pytest.fixture(params=["beside", "over"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages go beside the stream, as on one machine, or over it, as between two."""

    async def out_of_reach(*_: object) -> None:
        return None

    if request.param == "over":
        monkeypatch.setattr(streams, "reach", out_of_reach)
