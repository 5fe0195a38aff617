"""Records as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features.domain.features import EMPTY, ERASED, KNOWN, NO_TOKEN, Entry, Record, Table
from services.features.stores.packing import pack, unpack

TOKEN = b"12345678"
TIGHTLY = pytest.mark.parametrize("tight", [False, True])
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.booleans(),
    st.lists(st.text(st.characters(categories=["L", "Nd", "Cc"]), max_size=5), max_size=5),
    # Ids that begin alike, or are the beginning of others.
    st.lists(st.sampled_from(["prod_1", "prod_10", "prod_", "", "prod_2\n", "\n"]), max_size=5),
    st.builds(Table, st.just(("a", "b")), st.just(("n",)), st.just((1.0, 2.5))),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5),
)
ENTRIES = st.dictionaries(
    st.integers(1, 2**32 - 1),  # 0 is KNOWN
    st.builds(
        Entry,
        st.integers(0, 2**45),
        st.one_of(st.binary(min_size=8, max_size=8), st.sampled_from([TOKEN, NO_TOKEN])),
        VALUES,
        st.sampled_from([None, 0, 2**32, 2**48]),
    ),
    max_size=6,
)
MORE = st.sampled_from([{}, {KNOWN: Entry(0, NO_TOKEN, True)}, {ERASED: Entry(5, TOKEN, True)}])


@TIGHTLY
@given(ENTRIES, MORE)
def test_what_was_packed_is_unpacked(tight: bool, entries: dict[int, Entry], more: dict[int, Entry]) -> None:
    entries = entries | more
    raw = TOKEN + pack(entries, tight)
    record = unpack(raw)
    assert record == Record(TOKEN, entries)
    assert all(type(record.entries[number].value) is type(entry.value) for number, entry in entries.items())
    some = dict.fromkeys([*entries][::2])
    part = unpack(raw, some)
    assert part.token == TOKEN
    assert {number: part.entries.get(number) for number in some} == {number: entries[number] for number in some}
    # Compare-and-set compares bytes: reading and writing back changes none.
    assert pack(record.entries, tight) == raw[8:]


def test_a_tight_record_says_once_what_its_entries_share() -> None:
    ids = [f"prod_{number:07}" for number in range(6)]
    entries = {KNOWN: Entry(0, NO_TOKEN, True)}
    entries |= {2**31 + n: Entry(1_790_000_000_000 + n, TOKEN, ids, 1_790_003_600_000) for n in range(6)}
    assert len(pack(entries, tight=True)) < len(pack(entries, tight=False)) / 2
    assert b"prod_" in pack(entries, tight=True)
    assert pack(entries, tight=True).count(b"prod_") == 6


def test_a_record_of_another_layout_counts_as_missing() -> None:
    body = pack({KNOWN: Entry(0, NO_TOKEN, True), 7: Entry(5, TOKEN, 1.5)}, tight=True)
    for first in {*range(0x90, 0xA0)} - {body[0]}:
        assert unpack(TOKEN + bytes([first]) + body[1:]) == Record(TOKEN, {})


@given(st.binary(max_size=40), st.booleans())
def test_foreign_bytes_are_missing_values(raw: bytes, tight: bool) -> None:
    if tight:
        raw = raw[:8] + b"\x98" + raw[8:]
    record = unpack(raw)
    assert record.token == (raw[:8] if len(raw) >= 8 else EMPTY.token)


@pytest.mark.parametrize("raw", [None, b"", b"1234567"])
def test_nothing_is_an_empty_record(raw: bytes | None) -> None:
    assert unpack(raw) == EMPTY


def test_a_mark_alone_is_a_record_without_values() -> None:
    assert unpack(TOKEN) == Record(TOKEN, {})
