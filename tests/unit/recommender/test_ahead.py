"""How long what is done ahead rests, so that pages win."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from services.recommender.pipeline.ahead import NeighboursAhead


@pytest.mark.parametrize("work", ["reading", "searching"])
async def test_it_rests_much_longer_while_pages_are_asked_for(work: str) -> None:
    done: list[str] = []

    async def do(name: str) -> None:
        done.append(name)

    kept = SimpleNamespace(news=SimpleNamespace(mark=lambda _: None))
    texts: Any = SimpleNamespace(kept=kept, asked_at=-math.inf, search=lambda *_: do("searching"))
    nothing: Any = None
    ahead: Any = NeighboursAhead(texts, nothing, nothing, lambda: 1)
    ahead._kept, ahead._look_at = kept, math.inf
    ahead._read = lambda _: do("reading")
    ahead._popular = [7]

    async def rest() -> int:
        ahead._unknown = ["a"] if work == "searching" else []
        return int(await ahead.step())

    assert await rest() <= 1, "a shop without shoppers should be ready soon"
    texts.asked_at = time.monotonic()
    assert await rest() >= 10, "reading 150,000 rows made pages wait for hundreds of milliseconds"
    assert done == [work] * 2
