"""Streams whose messages go beside them, and streams that carry them."""

from __future__ import annotations

import pytest

from services.runtime import streams
from tests.support.machines import out_of_reach


@pytest.fixture(params=["beside", "over"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Messages go beside the stream, as on one machine, or over it, as between two; which of them."""
    if request.param == "over":
        monkeypatch.setattr(streams, "reach", out_of_reach)
    way: str = request.param
    return way
