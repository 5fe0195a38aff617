"""What was made once, remembered in two generations: what is asked for again stays, the rest goes by itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# What a section costs, beside what is in it: sections may be of the callers' making.
_SECTION = 400
# Keys that came once, of which one generation keeps the numbers: not many more than there is room for what is made of
# them, or what comes again too seldom to be found would be kept for nothing.
_SEEN = 500


class Generations(Generic[S, K, V]):
    """Sections of keys and values. What nobody asks for is gone after two generations at most.

    What is found among the old becomes young again when it is kept again; a generation ends when it is full or old.
    """

    def __init__(self, room: int, life: float) -> None:
        """``room`` of one generation, in the unit of costs, and its ``life``, in the unit of instants."""
        self._room = room
        self._life = life
        self._young: dict[S, dict[K, V]] = {}
        self._old: dict[S, dict[K, V]] = {}
        self._since: float = 0
        self._used = 0

    def young(self, section: S, now: float) -> dict[K, V]:
        """What the generation under way knows of a section; to look things up in."""
        if self._used > self._room or not 0 <= now - self._since < self._life:
            self._young, self._old, self._used, self._since = {}, self._young, 0, now
        found = self._young.get(section)
        if found is None:
            found = self._young[section] = {}
            self._used += _SECTION
        return found

    def old(self, section: S, key: K) -> V | None:
        """What the generation before knew."""
        found = self._old.get(section)
        return None if found is None else found.get(key)

    def before(self, section: S) -> Mapping[K, V]:
        """All that the generation before knew of a section."""
        return self._old.get(section, {})

    def keep(self, section: S, key: K, value: V, cost: int) -> None:
        """Remembers; ``cost`` counts against the room."""
        self._young[section][key] = value
        self._used += cost

    def drop(self, section: S, key: K) -> None:
        """Forgets it."""
        for generation in (self._young, self._old):
            found = generation.get(section)
            if found is not None:
                found.pop(key, None)

    def __len__(self) -> int:
        """Sections of both generations."""
        return len(self._young) + len(self._old)


class Repeated(Generic[K, V]):
    """What was made for keys that come again: what comes once leaves nothing but a number."""

    def __init__(self, room: int, life: float) -> None:
        """See Generations."""
        self._known: Generations[None, K, tuple[V, int]] = Generations(room, life)
        self._seen: Generations[None, int, bool] = Generations(_SECTION + _SEEN, life)

    def get(self, key: K, now: float) -> V | None:
        """None: it is not known."""
        found = self._known.young(None, now).get(key)
        if found is None:
            found = self._known.old(None, key)
            if found is None:
                return None
            self._known.keep(None, key, found, found[1])
        return found[0]

    def keep(self, key: K, value: V, cost: int, now: float) -> None:
        """Remembers it, if the key was there before."""
        number = hash(key)
        if number in self._seen.young(None, now) or self._seen.old(None, number):
            self._known.young(None, now)
            self._known.keep(None, key, (value, cost), cost)
        else:
            self._seen.keep(None, number, True, 1)
