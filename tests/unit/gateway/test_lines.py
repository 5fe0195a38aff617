"""Bytes into lines, however they arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transcoding.lines import LineNumbers, LineSplitter
from services.runtime.errors import ServiceError


def split(chunks: list[bytes], limit: int = 10) -> list[bytes | None]:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + list(splitter.finish())


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=6), st.data())
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], data: st.DataObject) -> None:
    body = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert split(chunks) == split([body])
    expected = [None if len(line) > 10 else line.strip() for line in lines]
    if expected and lines[-1] == b"":
        expected.pop()  # the end of the last line, not a line
    assert split([body]) == expected


def test_a_line_at_the_limit_is_one_and_a_byte_more_is_not() -> None:
    assert split([b"0123456789\n0123456789x\nok\r\n"]) == [b"0123456789", None, b"ok"]


def test_an_endless_line_is_not_kept() -> None:
    splitter = LineSplitter(10)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 1000)) == []
        assert len(splitter._tail) <= 10
    assert list(splitter.feed(b"\nnext\n")) == [None, b"next"]


@given(st.lists(st.booleans(), max_size=30))
def test_items_find_their_lines(lines: list[bool]) -> None:
    numbers = LineNumbers()
    places = {}
    for line, is_item in enumerate(lines):
        if is_item:
            places[numbers.add_item()] = line
        else:
            numbers.add_empty()
    assert {place: numbers.line_of(place) for place in places} == places


@pytest.mark.parametrize("items", [0, 1])
def test_empty_lines_are_remembered_up_to_a_limit(items: int) -> None:
    """At the end of a body too: a line of one byte costs as much time as a useful one."""
    numbers = LineNumbers()
    for _ in range(items):
        numbers.add_item()
    for _ in range(65_536):
        numbers.add_empty()
    with pytest.raises(ServiceError, match="empty lines"):
        numbers.add_empty()
    assert numbers.line_of(numbers.add_item()) == 65_536 + items
