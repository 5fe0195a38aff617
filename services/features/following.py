"""Follows the catalogue: takes over its signals, ranks prices, has announced what a change touches."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection

from services.features.announcing import Announcer
from services.features.metrics import SIGNALS_APPLIED
from services.features.ports import StoreDownError
from services.features.signal_ports import SignalPage, SignalSource, SignalStore, SourceDownError
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
# Refreshing a user costs about a millisecond of worker: after re-marking n users for a change of prices, the next
# change waits n times this, so that prices that change all day take a fifth of a worker at most. The refresh interval
# covers the rest.
_SECONDS_PER_USER = 0.005
_MAX_PAUSE = 600.0


class SignalFollower:
    """Keeps our copy of the catalogue data; one worker of all does at a time."""

    def __init__(self, source: SignalSource, signals: SignalStore, announcer: Announcer) -> None:
        self._source = source
        self._signals = signals
        self._announcer = announcer
        self._categories: set[str] = set()
        # Set while there may be something to rank or to announce.
        self._awake = asyncio.Event()
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
        self._awake.set()
        SIGNALS_APPLIED.inc(len(page.signals))
        self._announcer.moved |= bool(moved.products)
        if moved.categories or moved.products:
            self._note(moved.categories)
        if page.signals or page.caught_up:
            self._announcer.changed = True
            with contextlib.suppress(StoreDownError):  # it stays noted
                await self._announcer.announce()

    def _note(self, categories: Collection[str]) -> None:
        self._last_move = time.monotonic()
        if not self._categories:
            self._first_move = self._last_move
        self._categories.update(categories)

    async def _maintain(self) -> None:
        """Ranks and announces behind the stream, so that neither holds it up."""
        # What a follower before us may have left undone: ranking again changes only what is wrong.
        ranked = False
        while True:
            if ranked and not (self._categories or self._announcer.busy):
                self._awake.clear()
                await self._awake.wait()
            await asyncio.sleep(_TICK)
            try:
                if not ranked:
                    self._note(await self._signals.categories())
                    ranked = True
                await self._announcer.confirm()
                await self._announcer.announce()
                if self._rank_now():
                    await self._rank()
            except StoreDownError:
                await asyncio.sleep(1.0)

    def _rank_now(self) -> bool:
        now = time.monotonic()
        if not (self._categories or self._announcer.moved) or now < self._not_before:
            return False
        return now - self._last_move >= _QUIET or now - self._first_move >= _PATIENCE

    async def _rank(self) -> None:
        """Ranks prices anew, and makes dirty the users whose values depend on what changed."""
        categories, self._categories = self._categories, set()
        try:
            await self._signals.rank_prices(sorted(categories))
            users = await self._announcer.mark()
        except StoreDownError:
            self._note(categories)
            raise
        self._not_before = time.monotonic() + min(users * _SECONDS_PER_USER, _MAX_PAUSE)
