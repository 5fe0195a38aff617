"""Records as bytes: the token of the last mark, then the entries, plain or tight.

Plain is a MessagePack map from feature number to entry: quickly read, for entities that are read by the hundred. Tight
says once what the entries of a record share (time, token, the beginning of ids): half the size, for those that are
many and are read one by one. Either is read wherever it is found; what is neither counts as missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import repeat, takewhile
from typing import Any, Final, NamedTuple, TypeGuard

import msgspec

from services.features.domain.features import EMPTY, ERASED, KNOWN, NO_TOKEN, Entry, Record, Value

TOKEN_LENGTH: Final = len(NO_TOKEN)


class _Tight(NamedTuple):
    """Columns, a row for each entry but KNOWN, which is there. Another layout must have another number of columns."""

    newest_ms: int
    tokens: bytes  # each once
    numbers: list[int]
    values: list[Value | None]  # None also in the place of what is in `lists`
    lists: dict[int, str]  # by place: see _joined
    ages_ms: list[int]  # before newest_ms
    untils_ms: list[int | None]  # after newest_ms
    token_places: list[int]  # in tokens; empty: all have the only one


class _Sealed(NamedTuple):
    """The columns of _Tight with values still packed: many are long, and few reads want those."""

    newest_ms: int
    tokens: bytes
    numbers: list[int]
    values: list[msgspec.Raw]
    lists: dict[int, msgspec.Raw]
    ages_ms: list[int]
    untils_ms: list[int | None]
    token_places: list[int]


# How MessagePack begins an array of as many elements as there are columns.
_TIGHT: Final = 0x90 + len(_Tight._fields)
_KNOWN: Final = Entry(0, NO_TOKEN, True)
# Separates the joined strings of a list; one that has it in a string is not joined.
_LINE: Final = "\n"

_plain = msgspec.msgpack.Decoder(dict[int, Entry])
_tight = msgspec.msgpack.Decoder(_Tight)
_sealed = msgspec.msgpack.Decoder(_Sealed)
_value = msgspec.msgpack.Decoder(Value | None)
_text = msgspec.msgpack.Decoder(str)
_encode = msgspec.msgpack.Encoder().encode
# An entry from a tuple, without a call of Python's: decoding is what reads wait for.
_entry = partial(tuple.__new__, Entry)


def pack(entries: Mapping[int, Entry], tight: bool) -> bytes:
    """The body of a record; the same entries in the same order give the same bytes."""
    if tight and len(entries) > 1 and KNOWN in entries and ERASED not in entries:
        return _encode(_columns([(number, entry) for number, entry in entries.items() if number != KNOWN]))
    return _encode(entries)


def unpack(raw: bytes | None, only: Collection[int] | None = None) -> Record:
    """A record as it is stored; what cannot be read (another version's, a foreign value) counts as missing.

    ``only``: the numbers of the entries that are wanted; the record may have more.
    """
    if raw is None or len(raw) < TOKEN_LENGTH:
        return EMPTY
    token, body = raw[:TOKEN_LENGTH], raw[TOKEN_LENGTH:]
    if not body:
        return Record(token, {})
    try:
        if body[0] != _TIGHT:
            return Record(token, _plain.decode(body))
        if only is not None:
            return Record(token, _some_entries(_sealed.decode(body), only))
        return Record(token, _entries(_tight.decode(body)))
    except msgspec.DecodeError:
        return Record(token, {})


def _columns(entries: Sequence[tuple[int, Entry]]) -> _Tight:
    newest = max(entry.computed_ms for _, entry in entries)
    places: dict[bytes, int] = {}
    token_places = [places.setdefault(entry.token, len(places)) for _, entry in entries]
    lists = {place: _joined(entry.value) for place, (_, entry) in enumerate(entries) if _joinable(entry.value)}
    return _Tight(
        newest,
        b"".join(places),
        [number for number, _ in entries],
        [None if place in lists else entry.value for place, (_, entry) in enumerate(entries)],
        lists,
        [newest - entry.computed_ms for _, entry in entries],
        [None if entry.until_ms is None else entry.until_ms - newest for _, entry in entries],
        token_places if len(places) > 1 else [],
    )


def _entries(columns: _Tight) -> dict[int, Entry]:
    newest, tokens, numbers, values, lists, ages, untils, places = columns
    of_each: Any = repeat(tokens)
    if places:
        of_each = [tokens[place * TOKEN_LENGTH : (place + 1) * TOKEN_LENGTH] for place in places]
    if None in untils:
        absolute: Any = [None if until is None else newest + until for until in untils]
    else:
        absolute = map(newest.__add__, untils)  # type: ignore[arg-type]  # none of them is None
    for place, joined in lists.items():
        values[place] = _split(joined)
    rows = zip(map(newest.__sub__, ages), of_each, values, absolute)  # noqa: B905 - one of them has no end
    entries: dict[int, Entry] = dict(zip(numbers, map(_entry, rows), strict=True))
    entries[KNOWN] = _KNOWN
    return entries


def _some_entries(columns: _Sealed, wanted: Collection[int]) -> dict[int, Entry]:
    newest, tokens, numbers, values, lists, ages, untils, token_places = columns
    entries: dict[int, Entry] = {KNOWN: _KNOWN}
    for place, number in enumerate(numbers):
        if number not in wanted:
            continue
        token_place, until = token_places[place] if token_places else 0, untils[place]
        joined = lists.get(place)
        entries[number] = Entry(
            newest - ages[place],
            tokens[token_place * TOKEN_LENGTH : (token_place + 1) * TOKEN_LENGTH],
            _value.decode(values[place]) if joined is None else _split(_text.decode(joined)),
            None if until is None else newest + until,
        )
    return entries


def _joinable(value: Value | None) -> TypeGuard[list[str]]:
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(string, str) and _LINE not in string for string in value)
    )


def _joined(strings: Sequence[str]) -> str:
    """A list of strings as one, without what they all begin with: ids of one shop often begin alike."""
    # What the first and the last in order have in common all have.
    pairs = zip(min(strings), max(strings))  # noqa: B905 - up to the shorter
    length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return _LINE.join([strings[0][:length], *(string[length:] for string in strings)])


def _split(joined: str) -> list[str]:
    beginning, _, rest = joined.partition(_LINE)
    return (beginning + rest.replace(_LINE, _LINE + beginning)).split(_LINE)
