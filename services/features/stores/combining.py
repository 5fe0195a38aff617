"""Statements of several features as one: a round trip costs more than what most of them do.

Each keeps its text, and is planned as if it were alone; their rows come one below the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Types by the names that the driver has for them, which PostgreSQL understands. What returns another is asked alone.
_TYPES = frozenset(
    {"bool", "float4", "float4[]", "float8", "float8[]", "int2", "int2[]", "int4", "int4[]", "int8", "int8[]"}
    | {"numeric", "numeric[]", "text", "text[]", "timestamptz", "varchar", "varchar[]"}
)


class Part(NamedTuple):
    """A statement over $1 and $2 with the columns that it returns and their types."""

    sql: str
    columns: Mapping[str, str]


class Combined(NamedTuple):
    """A statement whose rows begin with the number of their part; of each part the places of its columns."""

    sql: str
    places: Sequence[Mapping[str, int]]

    def rows(self, found: Sequence[Sequence[Any]]) -> list[list[dict[str, Any]]]:
        """The rows of each part, by column."""
        result: list[list[dict[str, Any]]] = [[] for _ in self.places]
        for row in found:
            number = row[0]
            result[number].append({name: row[place] for name, place in self.places[number].items()})
        return result


def combined(parts: Sequence[Part]) -> Combined | None:
    """None: they cannot be combined."""
    if not all(_TYPES.issuperset(part.columns.values()) for part in parts):
        return None
    # A column for each type, as many as the part with the most columns of it has: nothing is cast.
    width: Counter[str] = Counter()
    for part in parts:
        width |= Counter(part.columns.values())
    slots = [(kind, nth) for kind, number in sorted(width.items()) for nth in range(number)]
    places, texts = [], []
    for number, part in enumerate(parts):
        named = _slotted(part.columns)
        values = [_quoted(named[slot]) if slot in named else f"NULL::{slot[0]}" for slot in slots]
        # On lines of its own: it may end with a comment.
        texts.append(f"SELECT {number}, {', '.join(values)} FROM (\n{part.sql}\n) AS part")  # noqa: S608 - declared
        places.append({name: 1 + slots.index(slot) for slot, name in named.items()})
    return Combined("\nUNION ALL\n".join(texts), places)


def _slotted(columns: Mapping[str, str]) -> dict[tuple[str, int], str]:
    """The name of the nth column of each type."""
    seen: Counter[str] = Counter()
    named = {}
    for name, kind in columns.items():
        named[kind, seen[kind]] = name
        seen[kind] += 1
    return named


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
