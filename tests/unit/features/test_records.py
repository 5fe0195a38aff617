"""Records as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features.domain.features import EMPTY, Entry, Record
from services.features.stores.online import pack, unpack

TOKEN = b"12345678"
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.booleans(),
    st.lists(st.text(max_size=5), max_size=5),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5),
)
ENTRIES = st.dictionaries(
    st.integers(0, 2**32 - 1),
    st.builds(
        Entry,
        st.integers(0, 2**45),
        st.binary(min_size=8, max_size=8),
        VALUES,
        st.sampled_from([None, 0, 2**32, 2**48]),
    ),
    max_size=6,
)


@given(ENTRIES)
def test_what_was_packed_is_unpacked(entries: dict[int, Entry]) -> None:
    raw = TOKEN + pack(entries)
    record = unpack(raw)
    assert record == Record(TOKEN, entries)
    assert [type(e.value) for e in record.entries.values()] == [type(e.value) for e in entries.values()]
    # Compare-and-set compares bytes: reading and writing back changes none.
    assert pack(record.entries) == raw[8:]


@given(st.binary(max_size=40))
def test_foreign_bytes_are_missing_values(raw: bytes) -> None:
    record = unpack(raw)
    assert record.token == (raw[:8] if len(raw) >= 8 else EMPTY.token)


@pytest.mark.parametrize("raw", [None, b"", b"1234567"])
def test_nothing_is_an_empty_record(raw: bytes | None) -> None:
    assert unpack(raw) == EMPTY


def test_a_mark_alone_is_a_record_without_values() -> None:
    assert unpack(TOKEN) == Record(TOKEN, {})
