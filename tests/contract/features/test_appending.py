"""A few events, which go to the log in one exchange, are stored as many are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.features.app import Parts
from services.features.domain.events import EVENT_TYPES, Line
from services.features.ports import Appended
from services.features.stores import appending
from services.features.stores.erasure import PostgresErasure
from services.features.stores.merging import PostgresMerges
from tests.contract.features.test_stores import NOW, event

DAY_US = 86_400_000_000
TABLES = ("events", "event_lines", "event_ids", "subjects", "ingests", "erased_subjects", "merged_visitors")
LOGGED = (
    "SELECT to_jsonb(e) - 'ingest_xid' - 'ingest_time' FROM events e ORDER BY seq",
    "SELECT to_jsonb(l) FROM event_lines l ORDER BY seq, line",
    "SELECT to_jsonb(i) FROM event_ids i ORDER BY event_id",
    "SELECT to_jsonb(s) FROM subjects s ORDER BY subject_id",
    "SELECT first_event_time, last_event_time, count(*) FROM events JOIN ingests USING (ingest_xid) GROUP BY 1, 2 "
    "ORDER BY 1",
)
EVENTS = [
    *(
        event(f"e{9 - place}", kind, rating=4.5, revenue=9.75, event_time_us=NOW * 1_000 - place * 40 * DAY_US)
        for place, kind in enumerate(EVENT_TYPES)
    ),
    event("again"),
    event("bare", lines=(), session_id="", position=None, attribution_token="", device="", attributes={}),
    event("other", user="u2", lines=(Line("known", 1, 2.5),) * 3),
    event("guest", user="", visitor="v1"),
    event("gone", user="erased", event_time_us=NOW * 1_000 - DAY_US),
]


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([EVENTS], id="of all kinds"),
        pytest.param([EVENTS[:7], EVENTS[4:], EVENTS[::-1]], id="sent again"),
        pytest.param([[EVENTS[0], EVENTS[1], EVENTS[0]]], id="twice in a batch"),
        pytest.param([[event("of-merged", user="", visitor="merged"), *EVENTS]], id="of a guest who is a user"),
        pytest.param([[EVENTS[-1]], [EVENTS[-1]]], id="of nobody"),
    ],
)
async def test_both_ways_store_the_same(parts: Parts, monkeypatch: pytest.MonkeyPatch, batches: list[Any]) -> None:
    signal = (
        "INSERT INTO product_signals (product_id, available_quantity, low_stock_threshold, rating_count, generation)"
    )
    await parts.database.fetch(f"{signal} VALUES ('known', 1, 1, 0, 0)")
    assert max(sum(one.weight for one in batch) for batch in batches) <= appending.FEW
    few = await _stored(parts, batches)
    monkeypatch.setattr(appending, "FEW", 0)
    assert await _stored(parts, batches) == few


async def _stored(parts: Parts, batches: list[Any]) -> tuple[list[Appended], list[Any]]:
    """What the log says of batches, and has of them in the end."""
    await parts.database.fetch(f"TRUNCATE {', '.join(TABLES)}")
    await parts.database.fetch("ALTER SEQUENCE events_seq_seq RESTART")
    await PostgresErasure(parts.database).bury("erased", NOW * 1_000)
    await PostgresMerges(parts.database).begin("merged", "u3", NOW * 1_000 + DAY_US)
    answers = []
    for batch in batches:
        answer = await parts.log.append(batch)
        answers.append(replace(answer, transaction=answer.transaction and 1))
    return answers, [await parts.database.fetch(statement) for statement in LOGGED]
