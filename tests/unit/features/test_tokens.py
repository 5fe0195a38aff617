"""What an event of a type makes dirty, by the counters of a record's token."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from services.features import definitions
from services.features.domain.events import EVENT_TYPES
from services.features.domain.features import Entry, Feature, Record, Worth, due_features, restamped, worth
from services.features.domain.tokens import ALL, BITS, COUNTERS, LENGTH, counters, moved

USER = definitions.load().entities["User"]
READ_THROUGH = [feature for feature in USER.features.values() if feature.events]


def marked(token: bytes, *kinds: str) -> bytes:
    """The token after events of these types, as the store moves it."""
    values = [int.from_bytes(token[place : place + 2], "big") for place in range(0, LENGTH, 2)]
    some = counters(kinds)
    return b"".join(((value + (some >> n & 1)) % 2**BITS).to_bytes(2, "big") for n, value in enumerate(values))


def record(token: bytes, features: Sequence[Feature] = READ_THROUGH) -> Record:
    return Record(token, {feature.number: Entry(1_000, token, 1) for feature in features})


@pytest.mark.parametrize("kind", EVENT_TYPES)
@pytest.mark.parametrize("token", [b"\0" * 8, b"\xff" * 8, b"\0\xff\xff\xff\x01\0\xff\xff"])
def test_whatever_an_event_changes_is_dirty_after_it(kind: str, token: bytes) -> None:
    now = record(token)._replace(token=marked(token, kind))
    for feature in READ_THROUGH:
        dirty = worth(feature, now, 1_001) is Worth.DIRTY
        assert dirty or kind not in feature.events
        assert (feature in due_features([feature], now, 1_001)) == dirty


def test_a_view_leaves_what_only_purchases_and_carts_change() -> None:
    token = b"12345678"
    now = record(token)._replace(token=marked(token, "detail-page-view"))
    dirty = {feature.name for feature in READ_THROUGH if worth(feature, now, 1_001) is Worth.DIRTY}
    assert dirty == {feature.name for feature in READ_THROUGH if "detail-page-view" in feature.events}
    assert "user_purchase_history" not in dirty
    assert "user_recent_carts" not in dirty


def test_what_does_not_say_which_events_change_it_is_dirty_after_any() -> None:
    silent = dataclasses.replace(READ_THROUGH[0], events=frozenset())
    for kind in EVENT_TYPES:
        now = record(b"12345678", [silent])._replace(token=marked(b"12345678", kind))
        assert worth(silent, now, 1_001) is Worth.DIRTY


def test_each_counter_is_told_apart() -> None:
    assert COUNTERS * BITS == 8 * LENGTH
    for counter in range(COUNTERS):
        token = bytes(2 * counter) + b"\0\1" + bytes(LENGTH - 2 * counter - 2)
        assert [moved(bytes(LENGTH), token, 1 << other) for other in range(COUNTERS)] == [
            other == counter for other in range(COUNTERS)
        ]
        assert moved(bytes(LENGTH), token, ALL)
        assert not moved(token, token, ALL)


def test_restamping_tells_of_later_events_what_the_old_tokens_did() -> None:
    """A view, then a restamp, then an order: with and without the restamp the same is dirty."""
    token = b"12345678"
    viewed = record(token)._replace(token=marked(token, "detail-page-view"))
    new = restamped(READ_THROUGH, viewed)
    assert {entry.token for entry in new.values()} == {viewed.token}
    assert new.keys() == {f.number for f in READ_THROUGH if worth(f, viewed, 1_001) is Worth.GOOD}
    again = Record(viewed.token, {**viewed.entries, **new})
    assert [worth(f, again, 1_001) for f in READ_THROUGH] == [worth(f, viewed, 1_001) for f in READ_THROUGH]
    for kind in EVENT_TYPES:
        later = marked(viewed.token, kind)
        assert [worth(f, again._replace(token=later), 1_001) for f in READ_THROUGH] == [
            worth(f, viewed._replace(token=later), 1_001) for f in READ_THROUGH
        ]
