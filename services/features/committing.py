"""Group commit: batches of concurrent callers share one transaction and one round of marks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.features.domain.events import Event
from services.features.domain.features import Entity
from services.features.marking import Marker
from services.features.ports import Appended, EventLog, LoggedEvent, StoreDownError

# Rows (events and their lines) in one commit: a statement of this size takes some 100 ms.
MAX_COMMIT = 10_000
# Commits at once: while one waits for the disk another is filled; more would only split batches.
_MAX_COMMITS = 2


@dataclass(frozen=True, slots=True)
class _Batch:
    events: Sequence[Event]
    weight: int
    done: asyncio.Future[Appended]


class GroupCommit:
    """Commits, marks, tells the callers. A caller that gives up does not undo its batch: others share the commit."""

    def __init__(self, log: EventLog, marker: Marker, entities: Sequence[Entity]) -> None:
        self._log = log
        self._marker = marker
        self._entities = entities
        self._waiting: list[_Batch] = []
        self._commits: set[asyncio.Task[None]] = set()

    async def commit(self, events: Sequence[Event]) -> Appended:
        """The events are durable, and their entities marked, on return. Raises StoreDownError when the log is down."""
        # Before they join others: nobody waits for the days of somebody else's history.
        await self._log.prepare(events)
        batch = _Batch(events, sum(event.weight for event in events), asyncio.get_running_loop().create_future())
        self._waiting.append(batch)
        self._start()
        return await asyncio.shield(batch.done)

    async def close(self) -> None:
        """Lets commits that are under way finish, and those that wait for them."""
        while self._commits:
            await asyncio.gather(*self._commits)

    def _start(self) -> None:
        while self._waiting and len(self._commits) < _MAX_COMMITS:
            size, count = 0, 0
            for batch in self._waiting:
                size += batch.weight
                if count and size > MAX_COMMIT:
                    break
                count += 1
            batches, self._waiting = self._waiting[:count], self._waiting[count:]
            commit = asyncio.create_task(self._run(batches), name="commit")
            self._commits.add(commit)
            commit.add_done_callback(self._ended)

    def _ended(self, commit: asyncio.Task[None]) -> None:
        self._commits.discard(commit)
        self._start()

    async def _run(self, batches: Sequence[_Batch]) -> None:
        failure: Exception = StoreDownError("event-log", "the process stops")
        results: list[Appended] = []
        try:
            results = await self._commit(batches)
        except Exception as error:  # handed to the callers, who are the ones to handle it
            failure = error
        finally:
            for place, batch in enumerate(batches):
                if batch.done.done():
                    continue
                if results:
                    batch.done.set_result(results[place])
                else:
                    batch.done.set_exception(failure)
                    batch.done.exception()  # retrieved: its caller may have given up

    async def _commit(self, batches: Sequence[_Batch]) -> list[Appended]:
        events = [event for batch in batches for event in batch.events]
        appended = await self._log.append(events)
        # Those that were there already too: a sender repeats what was not acknowledged, so whoever stored them may have
        # died before it marked them.
        there = [event for event in events if event.event_id not in appended.erased]
        if appended.merged:
            users = appended.merged
            there = [event._replace(user_id=event.user_id or users.get(event.event_id, "")) for event in there]
        await self._marker.mark(map(_logged, there), self._entities, appended.transaction)
        results, start = [], 0
        for batch in batches:
            end = start + len(batch.events)
            results.append(replace(appended, new=appended.new[start:end]))
            start = end
        return results


def _logged(event: Event) -> LoggedEvent:
    time_us = event.event_time_us or 0
    return LoggedEvent(
        event.event_type, event.subject_id, -(-time_us // 1_000), [line.product_id for line in event.lines]
    )
