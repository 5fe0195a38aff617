"""Concurrent reads of single entities share calls: what comes while others are under way goes as one batch.

A call costs the same for one entity as for some; under load it is most of what a read costs. Alone, a read is sent as
it is, at once. Answers are those of single reads: whatever a batch cannot say in the same words is asked again alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding.rows import rows
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Calls of one kind under way, beyond which reads wait for the next batch. Each waits for one call at most: a batch that
# has to compute holds up what comes into its lane, not the others.
LANES = 3
# Entities of a batch: half a millisecond of work, and few enough that a slow one keeps few waiting.
MOST = 64
# Seconds without batches after an answer that lacked a store: what is degraded is said of each read by itself.
_ALONE = 1.0
# Of a read's time, that it waits for others; then it goes alone. Behind calls that wait for a log that hangs it would
# miss its own deadline, with all that it asks for at hand.
_WAIT = 0.2

# Entity type and features.
_Kind = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    id: str
    # None: ask alone.
    answer: asyncio.Future[pb.GetFeaturesResponse | None]


class CoalescedReads:
    """GetFeatures, called as the stub's callable is."""

    def __init__(self, one: Any, many: Any) -> None:
        """``one`` and ``many``: the callables of GetFeatures and BatchGetFeatures."""
        self._one = one
        self._many = many
        self._under_way: Counter[_Kind] = Counter()
        self._waiting: defaultdict[_Kind, deque[_Waiting]] = defaultdict(deque)
        self._batches: set[asyncio.Task[None]] = set()
        self._alone_until = 0.0

    async def __call__(self, request: pb.GetFeaturesRequest, *, timeout: float) -> pb.GetFeaturesResponse:
        """The answer within ``timeout`` seconds; raises the service's error."""
        kind = request.entity, tuple(request.features)
        if time.monotonic() < self._alone_until:
            return await self._alone(request, timeout)
        if self._under_way[kind] < LANES:
            self._under_way[kind] += 1
            try:
                return await self._alone(request, timeout)
            finally:
                self._free(kind, timeout)
        end = time.monotonic() + timeout
        waiting = _Waiting(request.id, asyncio.get_running_loop().create_future())
        self._waiting[kind].append(waiting)
        answer = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout * _WAIT):
                answer = await waiting.answer
        return await self._alone(request, end - time.monotonic()) if answer is None else answer

    async def _alone(self, request: pb.GetFeaturesRequest, timeout: float) -> pb.GetFeaturesResponse:
        answer: pb.GetFeaturesResponse = await self._one(request, timeout=timeout)
        if answer.degraded:
            self._alone_until = time.monotonic() + _ALONE
        return answer

    def _free(self, kind: _Kind, timeout: float) -> None:
        """A lane has become free: those who wait take it together."""
        queue = self._waiting[kind]
        group: list[_Waiting] = []
        while queue and len(group) < MOST:
            waiting = queue.popleft()
            if not waiting.answer.done():  # else its caller has left
                group.append(waiting)
        if not group:
            self._under_way[kind] -= 1
            if not self._under_way[kind]:
                del self._under_way[kind], self._waiting[kind]  # kinds are of the callers' making
            return
        # In nobody's context: the call is of all of them, and its request id not one of theirs.
        task = contextvars.Context().run(asyncio.create_task, self._batch(kind, group, timeout))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _batch(self, kind: _Kind, group: Sequence[_Waiting], timeout: float) -> None:
        found: dict[str, pb.GetFeaturesResponse] = {}
        try:
            found = await self._ask(kind, list(dict.fromkeys(waiting.id for waiting in group)), timeout)
        except grpc.aio.AioRpcError as error:  # whose it is shows when each asks alone
            log.debug("batch failed", code=error.code().name, reads=len(group))
        finally:
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_result(found.get(waiting.id))
            self._free(kind, timeout)

    async def _ask(self, kind: _Kind, ids: list[str], timeout: float) -> dict[str, pb.GetFeaturesResponse]:
        entity, features = kind
        request = pb.BatchGetFeaturesRequest(entity=entity, ids=ids, features=features)
        answer: pb.BatchGetFeaturesResponse = await self._many(request, timeout=timeout)
        if answer.degraded:
            self._alone_until = time.monotonic() + _ALONE
            return {}
        return rows(answer, time.time_ns() // 1_000_000)
