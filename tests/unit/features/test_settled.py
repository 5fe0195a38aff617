"""What is read in rows is what deciding value by value would answer, at each instant."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features import remembering
from services.features.domain.features import (
    ERASED,
    KNOWN,
    NO_TOKEN,
    Entry,
    Feature,
    FeatureType,
    OnEvent,
    Reading,
    Record,
    Status,
    Table,
    Worth,
    reading,
    worth,
)
from services.features.domain.relative import Maximum, Relative
from services.features.domain.settled import UNSETTLED, Row, Sheet, columns, settled, unfolded
from services.features.remembering import SettledRows, SettledSheets
from services.features.stores.packing import pack, unpack
from tests.support.folding import columns_of, fold
from tests.unit.features.test_values import feature

TOKEN, OTHER = b"token---", b"another-"
# Milliseconds; features refresh after 1,000 and live for 5,000.
NOW = 1_760_000_000_000
SCALE = Relative(100.0, 10_000, 2, "")
COUNT = feature(1)
LATEST = feature(2, on_event=OnEvent.QUEUE, default="none", type=FeatureType.STRING)
TABLE = feature(3, on_event=OnEvent.NONE, type=FeatureType.TABLE, refresh_ms=4_000)
ALWAYS = feature(4, on_event=OnEvent.ALWAYS)
SHARE = feature(5, on_event=OnEvent.QUEUE, default=0.0, type=FeatureType.DOUBLE, relative=SCALE)
FEATURES = (COUNT, LATEST, TABLE, ALWAYS, SHARE)

MAGNITUDES = st.one_of(st.floats(1e-3, 1e6), st.just(0.0), st.just(5.0))
VALUES = {
    COUNT.number: st.integers(0, 9),
    LATEST.number: st.text(max_size=3),
    TABLE.number: st.builds(Table, st.just(("a", "b")), st.just(("n",)), st.just((1.0, 2.5))),
    ALWAYS.number: st.integers(0, 9),
    SHARE.number: st.lists(MAGNITUDES, min_size=2, max_size=2),
}


def entries(number: int) -> st.SearchStrategy[Entry]:
    """Good as a rule; here and there older, of another token, without evidence, slid soon."""
    return st.builds(
        Entry,
        st.sampled_from([NOW, NOW, NOW - 500, NOW - 999, NOW - 1_000, NOW - 6_000, NOW + 700]),
        st.sampled_from([TOKEN, TOKEN, TOKEN, OTHER]),
        st.one_of(VALUES[number], VALUES[number], st.none()),
        st.sampled_from([None, None, NOW, NOW + 1, NOW + 300]),
    )


RECORDS = st.builds(
    lambda known, values: Record(TOKEN, known | values),
    st.sampled_from([{KNOWN: Entry(0, NO_TOKEN, True)}] * 5 + [{}, {ERASED: Entry(5, TOKEN, True)}]),
    st.fixed_dictionaries({f.number: entries(f.number) for f in FEATURES if f is not ALWAYS}).flatmap(
        lambda values: st.sets(st.sampled_from(sorted(values)), max_size=1).map(
            lambda gone: {number: entry for number, entry in values.items() if number not in gone}
        )
    ),
)
ASKED = st.lists(st.sampled_from([COUNT, LATEST, TABLE, SHARE] * 5 + [ALWAYS]), min_size=1, max_size=4, unique=True)
INSTANTS = st.sampled_from([NOW, NOW + 1, NOW + 299, NOW + 300, NOW + 1_000, NOW - 10, NOW + 61_000])
LEVELS = st.one_of(st.none(), st.floats(NOW / 10_000 - 5, NOW / 10_000 + 20))
MAXIMA = st.one_of(st.none(), st.builds(Maximum, LEVELS, st.integers(NOW - 2_000, NOW - 10), st.booleans(), st.none()))


def one_by_one(asked: Sequence[Feature], record: Record, now_ms: int, maximum: Maximum | None) -> list[Reading] | None:
    """The readings, where all that is asked for is there and good."""
    if KNOWN not in record.entries or any(worth(f, record, now_ms) is not Worth.GOOD for f in asked):
        return None
    return [reading(f, record.entries[f.number], now_ms, False, maximum) for f in asked]


@given(
    ASKED, st.lists(RECORDS, min_size=1, max_size=30), st.booleans(), st.lists(INSTANTS, min_size=1, max_size=4), MAXIMA
)
def test_rows_answer_what_deciding_one_by_one_does(
    asked: list[Feature], records: list[Record], tight: bool, instants: list[int], maximum: Maximum | None
) -> None:
    remembered, remembered_folded = SettledRows(unpack), SettledRows(unpack, fold=fold)
    sheets = SettledSheets(remembered_folded, fold)
    packed = [record.token + pack(record.entries, tight) for record in records]
    maxima = {} if maximum is None else {SHARE.name: maximum}
    for now_ms in [*instants, *instants, *instants]:  # of what is remembered, too
        rows = remembered.of(asked, packed, now_ms)
        expected = [one_by_one(asked, record, now_ms, maximum) for record in records]
        assert [row is UNSETTLED for row in rows] == [answer is None for answer in expected]
        good = [row for row in rows if row is not UNSETTLED]
        answers = [answer for answer in expected if answer is not None]
        if good:
            found = [column.readings() for column in columns(asked, good, maxima)]
            assert found == [list(column) for column in zip(*answers, strict=True)]
        folded = remembered_folded.of(asked, packed, now_ms)
        assert [row is UNSETTLED for row in folded] == [answer is None for answer in expected]
        if good:
            held = unfolded(asked, Sheet.of([row for row in folded if row is not UNSETTLED], fold), maxima)
            assert [column.readings() for column in columns_of(asked, held).values()] == found
        sheet = sheets.of(asked, packed, now_ms)
        assert (sheet is None) == (len(good) < len(packed))
        if sheet is not None:
            assert unfolded(asked, sheet, maxima) == held


def test_a_row_holds_until_its_first_value_ages_or_slides() -> None:
    record = Record(
        TOKEN, {KNOWN: Entry(0, NO_TOKEN, True), 1: Entry(NOW, TOKEN, 7, NOW + 300), 2: Entry(NOW, TOKEN, None)}
    )
    assert settled((COUNT, LATEST), record, NOW) == (
        NOW + 300, 7, Status.PRESENT, NOW, "none", Status.DEFAULT, NOW,
    )  # fmt: skip
    assert settled((LATEST,), record, NOW)[0] == NOW + 1_000


def test_what_is_remembered_is_bounded_and_made_once_while_it_is_read() -> None:
    made: list[bytes | None] = []

    def unpacked(packed: bytes | None, only: object = None) -> Record:
        made.append(packed)
        return unpack(packed)

    def body(number: int) -> bytes:
        return TOKEN + pack({KNOWN: Entry(0, NO_TOKEN, True), 1: Entry(NOW, TOKEN, number)}, tight=False)

    rows = SettledRows(unpacked, room=3_000)
    hot = body(-1)
    for number in range(500):
        asked: list[Row] = rows.of((COUNT,), [hot, body(number)], NOW)
        assert [row[1] for row in asked] == [-1, number]
    assert made.count(hot) == 1
    assert rows.of((COUNT,), [body(0)], NOW)
    assert made.count(body(0)) == 2, "what nobody read any more was forgotten"


def test_sheets_that_came_again_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "_ROOM", 20_000)
    sheets = SettledSheets(SettledRows(unpack, fold=fold), fold)
    known, most, long = sheets._known._known, 0, "x" * 1_000
    for number in range(100):
        entries = {KNOWN: Entry(NOW, NO_TOKEN, True), LATEST.number: Entry(NOW, TOKEN, f"{number}{long}")}
        packed = TOKEN + pack(entries, tight=False)
        for _ in range(2):  # what comes once is not remembered
            assert sheets.of([LATEST], [packed], NOW)
        most = max(most, len(known.young(None, NOW)) + len(known.before(None)))
    assert 12 <= most < 22, "each counts for some 2,500 of two times 20,000, of which a thousand are its bytes"


def test_questions_without_an_answer_are_bounded_too() -> None:
    rows = SettledRows(unpack, room=3_000)
    for number in range(1, 500):
        assert rows.of((feature(number),), [b""], NOW) == [UNSETTLED]
    assert len(rows._known) < 20


@pytest.mark.parametrize(("asked", "length", "times"), [(LATEST, 10, 1), (LATEST, 9_000, 2), (TABLE, 10, 2)])
def test_what_would_take_more_than_it_saves_is_not_remembered(asked: Feature, length: int, times: int) -> None:
    made: list[bytes | None] = []

    def unpacked(packed: bytes | None, only: object = None) -> Record:
        made.append(packed)
        return unpack(packed)

    table = Table(("a",), ("n",), (1.0,))
    stored = {LATEST.number: Entry(NOW, TOKEN, "x" * length), TABLE.number: Entry(NOW, TOKEN, table)}
    packed = TOKEN + pack({KNOWN: Entry(0, NO_TOKEN, True), **stored}, tight=True)
    rows = SettledRows(unpacked)
    first, second = rows.of((asked,), [packed], NOW), rows.of((asked,), [packed], NOW + 1)
    assert (
        first
        == second
        == [(NOW + min(asked.refresh_ms, asked.ttl_ms), stored[asked.number].value, Status.PRESENT, NOW)]
    )
    assert len(made) == times


def test_a_sheet_of_the_same_records_is_made_once_while_it_holds() -> None:
    def body(number: int) -> bytes:
        return TOKEN + pack({KNOWN: Entry(0, NO_TOKEN, True), 1: Entry(NOW, TOKEN, number)}, tight=False)

    sheets = SettledSheets(SettledRows(unpack, fold=fold), fold)
    records = [body(1), body(2)]
    first, second, third, fourth = (sheets.of((COUNT,), list(records), NOW + n) for n in range(4))
    assert first == second == third
    assert second is third is fourth
    assert sheets.of((COUNT,), [body(1), body(3)], NOW) != second
    assert sheets.of((COUNT,), records[::-1], NOW) != second
    assert sheets.of((COUNT,), records, NOW + 999) is second
    assert sheets.of((COUNT,), records, NOW + 1_000) is None
