"""Announces changes of the catalogue: products become due, users whose values depend on them dirty.

What is to be announced is noted in the database together with the change, and stays so until the online store has
surely kept the announcement: a follower that dies, or a store that loses its last second, costs a repetition.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from services.features.domain.features import Entity
from services.features.marking import PRODUCT
from services.features.ports import DueQueue, FeatureComputer, OnlineStore, StoreDownError
from services.features.signal_ports import SignalStore

_PAGE = 2_000
# Moved products whose users are looked for at once.
_MOVED = 50_000
# A Redis that writes its log to the disk every second loses up to two when it is killed; one that fails over, less.
_HOLD_MS = 3_000


class _Held(NamedTuple):
    """Changes that were announced; ``receipt`` was left in the store behind the announcement."""

    at_ms: int
    receipt: str
    changes: Mapping[str, int]
    done: Callable[[Mapping[str, int]], Awaitable[None]]


class Announcer:
    """Of the one worker that follows the catalogue. Every method raises StoreDownError, and is to be called again."""

    def __init__(
        self,
        entities: Sequence[Entity],
        signals: SignalStore,
        online: OnlineStore,
        queue: DueQueue,
        computer: FeatureComputer,
        clock_ms: Callable[[], int],
    ) -> None:
        self._entities = entities
        self._signals = signals
        self._online = online
        self._queue = queue
        self._computer = computer
        self._clock_ms = clock_ms
        # Whether there may be changes that were not announced; at first, those that somebody before us left.
        self.changed = True
        self.moved = True
        self._announced = 0
        self._marked: dict[str, int] = {}
        self._held: deque[_Held] = deque()
        self._turn = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether there is, or may be, something to announce, to mark or to confirm; what is under way may fail."""
        return self.changed or self.moved or bool(self._held) or self._turn.locked()

    async def announce(self) -> None:
        """Makes changed products due."""
        async with self._turn:
            while self.changed:
                self.changed = False
                try:
                    page = await self._signals.unannounced(self._announced, _PAGE)
                    if page:
                        await self._queue.enqueue(PRODUCT, dict.fromkeys(page, self._clock_ms()))
                        await self._hold(page, self._signals.announced)
                        self._announced = max(page.values())
                        self.changed = True
                except StoreDownError:
                    self.changed = True
                    raise

    async def mark(self) -> int:
        """Marks the users of products that moved; returns how many these are."""
        found = await self._signals.moved(_MOVED)
        changes = {product: change for product, change in found.items() if self._marked.get(product) != change}
        count = 0
        for entity in self._entities if changes else ():
            now_ms = self._clock_ms()
            ids = await self._computer.of_products(entity, sorted(changes), now_ms)
            for start in range(0, len(ids), _PAGE):
                await self._online.mark({entity.name: dict.fromkeys(ids[start : start + _PAGE], ())}, now_ms, ())
            count += len(ids)
        if changes:
            await self._hold(changes, self._forget)
            self._marked |= changes
        self.moved = len(found) == _MOVED
        return count

    async def _hold(self, changes: Mapping[str, int], done: Callable[[Mapping[str, int]], Awaitable[None]]) -> None:
        self._held.append(_Held(self._clock_ms(), await self._queue.sign(), changes, done))

    async def _forget(self, changes: Mapping[str, int]) -> None:
        await self._signals.marked(changes)
        for product in changes:
            self._marked.pop(product, None)

    async def confirm(self) -> None:
        """Lets go of what the store has kept; without its receipts everything that is held is announced again."""
        async with self._turn:
            while self._held and self._clock_ms() >= self._held[0].at_ms + _HOLD_MS:
                if not await self._queue.signed(self._held[0].receipt):
                    self._held.clear()
                    self._marked.clear()
                    self._announced = 0
                    self.changed = self.moved = True
                    return
                await self._held[0].done(self._held[0].changes)
                self._held.popleft()
