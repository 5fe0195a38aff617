"""Follows the catalogue: takes over its signals, ranks prices, makes due what a change touches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from services.features.domain.features import Entity
from services.features.marking import PRODUCT
from services.features.metrics import SIGNALS_APPLIED
from services.features.ports import (
    DueQueue,
    FeatureComputer,
    Moved,
    OnlineStore,
    SignalPage,
    SignalSource,
    SignalStore,
    SourceDownError,
    StoreDownError,
)
from services.runtime.lifecycle import background
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Seconds.
_BACKOFF = (0.2, 5.0)
# Another worker follows: look again whether it still does. A millisecond of the database each time.
_STAND_BY = 1.0
# Prices are ranked when none has moved for a moment, and at the latest after some seconds of an import.
_QUIET = 0.3
_PATIENCE = 5.0
_TICK = 0.1
_ANNOUNCE_PAGE = 2_000
# Refreshing a user costs about a millisecond of worker: after re-marking n users for a change of prices, the next
# change waits n times this, so that prices that change all day take a fifth of a worker at most. The refresh interval
# covers the rest.
_SECONDS_PER_USER = 0.005
_MAX_PAUSE = 600.0


class SignalFollower:
    """Keeps our copy of the catalogue data; one worker of all does at a time."""

    def __init__(
        self,
        entities: Sequence[Entity],
        source: SignalSource,
        signals: SignalStore,
        online: OnlineStore,
        queue: DueQueue,
        computer: FeatureComputer,
        clock_ms: Callable[[], int],
    ) -> None:
        self._entities = entities
        self._source = source
        self._signals = signals
        self._online = online
        self._queue = queue
        self._computer = computer
        self._clock_ms = clock_ms
        self._unannounced = True
        self._categories: set[str] = set()
        self._products: set[str] = set()
        self._first_move = 0.0
        self._last_move = 0.0
        self._not_before = 0.0

    async def run(self) -> None:
        """For as long as the process lives."""
        pause, connected = _BACKOFF[0], True
        while True:
            try:
                async with self._signals.sole() as mine:
                    if not mine:
                        await asyncio.sleep(_STAND_BY)
                        continue
                    async with background("rank prices", self._maintain()) as maintenance:
                        async for page in self._source.follow(await self._signals.cursor()):
                            if maintenance.done():
                                await maintenance
                            await self._apply(page)
                            if not connected:
                                log.info("catalogue is back")
                            pause, connected = _BACKOFF[0], True
            except SourceDownError as error:
                if connected:
                    log.warning("catalogue is down", cause=str(error))
                connected = False
            except StoreDownError:
                pass  # its breaker logs it
            await asyncio.sleep(pause)
            pause = min(2 * pause, _BACKOFF[1])

    async def _apply(self, page: SignalPage) -> None:
        moved = await self._signals.apply(page)
        SIGNALS_APPLIED.inc(len(page.signals))
        if moved.categories or moved.products:
            self._note(moved)
        if page.signals or page.caught_up:
            self._unannounced = True
            await self._announce()

    def _note(self, moved: Moved) -> None:
        now = time.monotonic()
        if not self._categories and not self._products:
            self._first_move = now
        self._last_move = now
        self._categories |= moved.categories
        self._products |= moved.products

    async def _maintain(self) -> None:
        """Ranks and announces behind the stream, so that neither holds it up."""
        # What a follower before us may have left undone: ranking again changes only what is wrong.
        ranked = False
        while True:
            await asyncio.sleep(_TICK)
            try:
                if not ranked:
                    self._note(Moved(set(await self._signals.categories()), set()))
                    ranked = True
                await self._announce()
                if self._rank_now():
                    await self._rank()
            except StoreDownError:
                await asyncio.sleep(1.0)

    async def _announce(self) -> None:
        """Makes changed products due. What cannot be queued now stays noted in the database."""
        try:
            while self._unannounced:
                self._unannounced = False
                page = await self._signals.unannounced(_ANNOUNCE_PAGE)
                if page:
                    self._unannounced = True
                    await self._queue.enqueue(PRODUCT, dict.fromkeys(page, self._clock_ms()))
                    await self._signals.announced(page)
        except StoreDownError:
            self._unannounced = True

    def _rank_now(self) -> bool:
        now = time.monotonic()
        if not (self._categories or self._products) or now < self._not_before:
            return False
        return now - self._last_move >= _QUIET or now - self._first_move >= _PATIENCE

    async def _rank(self) -> None:
        """Ranks prices anew, and makes dirty the users whose values depend on what changed."""
        categories, self._categories = self._categories, set()
        changed, self._products = self._products, set()
        try:
            changed |= set(await self._signals.rank_prices(sorted(categories)))
            users = await self._mark_users(sorted(changed)) if changed else 0
        except StoreDownError:
            # With what was ranked: ranking again finds it right, and would not name it.
            self._note(Moved(categories, changed))
            raise
        self._not_before = time.monotonic() + min(users * _SECONDS_PER_USER, _MAX_PAUSE)

    async def _mark_users(self, products: Sequence[str]) -> int:
        count = 0
        for entity in self._entities:
            now_ms = self._clock_ms()
            ids = await self._computer.of_products(entity, products, now_ms)
            for start in range(0, len(ids), _ANNOUNCE_PAGE):
                page = dict.fromkeys(ids[start : start + _ANNOUNCE_PAGE], ())
                await self._online.mark({entity.name: page}, now_ms, ())
            count += len(ids)
        return count
