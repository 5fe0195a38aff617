"""Values that are read again and again, held here until their server says that they changed.

A server of Redis tells a connection which of the keys that it read on it have changed, at once and in the order of its
answers: what it says before it answers a PING happened before the PING. So a read that finds here all that it wants
sends a PING in the place of the MGET, and when that is answered, what is still held is what the MGET would have said.
What a key's end of life changes it says a little later; who reads the value knows better how long it holds.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from services.features.ports import ONLINE_STORE, Meanwhile, StoreDownError
from services.features.stores.redis import Command, RedisServer, command
from services.features.stores.redis_link import Question, RefusedError
from services.features.stores.redis_watching import TellingLink

# Bytes that one generation holds, of two: some 30,000 products; what an entry costs beside its value; seconds.
_ROOM, _ENTRY, _LIFE = 16_000_000, 250, 60.0
_PING = Command(("PING",), "")


class _Held:
    """Values for one to two lives since they were read: what a server does not tell, of a SWAPDB for one, ends by that.

    In one dictionary, for hundreds are looked up at once; a second one has those that were read in this life.
    """

    def __init__(self) -> None:
        self._there: dict[str, bytes] = {}
        self._young: dict[str, bytes] = {}
        self._since = 0.0
        self._used = 0

    def there(self, now: float) -> dict[str, bytes]:
        """To look things up in."""
        if self._used > _ROOM or not 0 <= now - self._since < _LIFE:
            self._there, self._young, self._used, self._since = self._young, {}, 0, now
        return self._there

    def keep(self, key: str, value: bytes) -> None:
        """What was read now."""
        self._there[key] = self._young[key] = value
        self._used += len(value) + _ENTRY

    def drop(self, key: str) -> None:
        """It has changed."""
        self._there.pop(key, None)
        self._young.pop(key, None)


class HoldingLink(TellingLink):
    """A connection that holds what was read on it. What it holds goes with it."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: deque[Sequence[tuple[Any, ...]]] = deque()
        self._held = _Held()
        # How many times the server told of some.
        self.changes = 0

    def ask(self, commands: Sequence[tuple[Any, ...]], seconds: float) -> asyncio.Future[list[Any]]:
        """See Link."""
        asked = super().ask(commands, seconds)
        self._asked.append(commands)
        return asked

    def held(self, keys: Sequence[str]) -> tuple[list[bytes | None], bool]:
        """The value of each, empty where there was none, None: not held; whether all are held."""
        there = self._held.there(time.monotonic())
        try:
            return list(map(there.__getitem__, keys)), True
        except KeyError:
            return list(map(there.get, keys)), False

    def _answered(self, question: Question) -> None:
        # Here, not where it is awaited: what the server says next may be that one of them changed.
        self._held.there(time.monotonic())
        for words, answer in zip(self._asked.popleft(), question.answers, strict=True):
            if self.tells and words[0] == "MGET" and isinstance(answer, list):
                for key, value in zip(words[1:], answer, strict=True):
                    self._held.keep(key, value or b"")
        super()._answered(question)

    def _pushed(self, said: Sequence[Any]) -> None:
        if said[0] != b"invalidate":
            return
        self.changes += 1
        if said[1] is None:  # all
            self._held = _Held()
            return
        for key in said[1]:
            self._held.drop(key.decode())


class HoldingServer(RedisServer):
    """A server whose links are HoldingLinks."""

    async def values(self, keys: Sequence[str], extra: float, meanwhile: Meanwhile | None = None) -> list[bytes | None]:
        """The value of each key, empty or None where there is none; see RedisStore.often."""
        link = self._link
        if not isinstance(link, HoldingLink):
            return await self._read(keys, extra)
        (held, whole), changes = link.held(keys), link.changes
        read: dict[str, bytes | None] = {}
        if whole:
            await self.send((_PING,), extra, meanwhile and partial(meanwhile, held))
        else:
            missing = [key for key, value in zip(keys, held, strict=True) if value is None]
            read.update(zip(missing, await self._read(missing, extra), strict=True))
        if link is not self._link:
            return await self._read(keys, extra)
        if link.changes != changes:
            now, _ = link.held(keys)
            changed = [key for key, value in zip(keys, now, strict=True) if value is None and key not in read]
            if changed:
                read.update(zip(changed, await self._read(changed, extra), strict=True))
            if now != held:  # else what changed are others
                held = now
        return [read[key] if value is None else value for key, value in zip(keys, held, strict=True)] if read else held

    async def _read(self, keys: Sequence[str], extra: float) -> list[bytes | None]:
        answer: list[bytes | None] | RefusedError
        (answer,) = await self.send((command("MGET", *keys),), extra)
        if isinstance(answer, RefusedError):
            raise answer  # of a cluster, but not declared as one
        return answer

    def _failed(self, error: Exception) -> StoreDownError:
        if isinstance(error, TimeoutError):
            return super()._failed(error)
        # Its connection alone may be gone; whether the server is shows where the other one is asked then.
        return StoreDownError(ONLINE_STORE, type(error).__name__)
