"""Concurrent reads of single entities share batches: what arrives in one turn of the event loop is asked together.

A message to the feature service costs nearly the same for one entity as for some; under load it is most of what a read
costs. Alone, a read is asked at once. Answers are those of single reads: whatever a batch cannot say in the same words
is asked again alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import msgspec
import structlog
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding.features import feature_values
from gateway.transcoding.singles import singles
from services.runtime.interceptors import current_request_id
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Batches of one kind under way, beyond which reads wait for the next one: one is at the service while another is
# written here. A batch that has to compute holds up what comes into its lane, not the others.
LANES = 3
# Entities of a batch: a millisecond of work, and few enough that a slow one keeps few waiting.
MOST = 64
# Seconds without batches after an answer that lacked a store or did not come in time: what is degraded is said of each
# read by itself.
_ALONE = 1.0
# Seconds. A loop that comes so late has more to do than it can, and a read alone costs it many times its share of a
# batch: then nothing goes alone for its time's sake, or that would make the next batch late too, and so on for ever.
LAG = 0.05
# Seconds between two looks.
_LOOK = 0.02
# Of a read's time, that a batch has; then its reads go alone. Beside one that waits for a log that hangs the others
# would miss their own deadline, with all that they ask for at hand.
_SHARE = 0.4

# Entity type and features.
Kind = tuple[str, tuple[str, ...]]
# Takes the answer as JSON; None: there is none that is the same for a read alone.
Told = Callable[[bytes | None], object]

_encode = msgspec.json.Encoder().encode


class _Waiting(NamedTuple):
    id: str
    told: Told
    request_id: str | None


class _Group:
    """The reads of one kind."""

    __slots__ = ("kind", "scheduled", "under_way", "waiting")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.waiting: list[_Waiting] = []
        self.under_way = 0
        self.scheduled = False


class CoalescedReads:
    """GetFeatures in the documented JSON."""

    def __init__(
        self, one: Callable[..., Awaitable[Any]], many: Callable[..., Awaitable[Any]], seconds: float, lag: float = LAG
    ) -> None:
        """``one`` and ``many``: the callables of GetFeatures and BatchGetFeatures; a read has ``seconds``. ``lag``:
        seconds by which the loop of a gateway with too much to do comes late."""
        self._one = one
        self._many = many
        self._seconds = seconds
        self._groups: dict[Kind, _Group] = {}
        self._batches: set[asyncio.Task[None]] = set()
        self._lag = lag
        # Of time.monotonic; the second for the reason of time.
        self._alone_until = 0.0
        self._late_until = 0.0

    async def read(self, request: pb.GetFeaturesRequest, asked: float | None = None) -> bytes:
        """The answer's JSON; raises the service's error. ``asked``: the instant (of time.perf_counter) since which a
        batch was tried that could not tell."""
        end = (time.perf_counter() if asked is None else asked) + self._seconds
        if asked is None and self.together():
            future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

            def told(body: bytes | None) -> None:
                if not future.done():  # else its caller has left
                    future.set_result(body)

            self.ask((request.entity, tuple(request.features)), request.id, told, current_request_id())
            body = await future
            if body is not None:
                return body
        answer: pb.GetFeaturesResponse = await self._one(request, timeout=max(0.001, end - time.perf_counter()))
        if answer.degraded:
            self._part()
        return _encode(feature_values(answer, request))

    def together(self) -> bool:
        """Whether batches are tried now."""
        now = time.monotonic()
        return now >= self._alone_until and now >= self._late_until

    def _part(self) -> None:
        self._alone_until = time.monotonic() + _ALONE

    def _part_for_time(self, late: float) -> None:
        """After a batch that got no answer, which was told ``late`` seconds after its time."""
        if late < self._lag:
            now, until = time.monotonic(), self._late_until
            self._late_until = now + _ALONE
            if now >= until:  # else somebody looks already
                self._look(now)

    def _look(self, due: float) -> None:
        """Until batches are tried again: tries them at once when the loop comes late to ``due``."""
        now = time.monotonic()
        if now - due >= self._lag:
            self._late_until = now
        elif now < self._late_until:
            asyncio.get_running_loop().call_later(_LOOK, self._look, now + _LOOK)

    def ask(self, kind: Kind, entity_id: str, told: Told, request_id: str | None) -> None:
        """Calls ``told``, from another turn of the loop, with what a batch says of an entity."""
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = _Group(kind)
        group.waiting.append(_Waiting(entity_id, told, request_id))
        if not group.scheduled and group.under_way < LANES:
            group.scheduled = True
            asyncio.get_running_loop().call_soon(self._send, group)

    def _send(self, group: _Group) -> None:
        """What waits goes into the lanes that are free."""
        group.scheduled = False
        if not self.together():  # since they came
            waiting, group.waiting = group.waiting, []
            for one in waiting:
                one.told(None)
        while group.waiting and group.under_way < LANES:
            batch, group.waiting = group.waiting[:MOST], group.waiting[MOST:]
            group.under_way += 1
            # In nobody's context: the batch is of all of them, and its request id not one of theirs.
            context = contextvars.Context()
            if len(batch) == 1 and batch[0].request_id:
                context.run(structlog.contextvars.bind_contextvars, request_id=batch[0].request_id)
            task = context.run(asyncio.create_task, self._batch(group, batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
        if not group.under_way and not group.waiting:
            self._groups.pop(group.kind, None)  # kinds are of the callers' making

    async def _batch(self, group: _Group, batch: list[_Waiting]) -> None:
        found: dict[str, bytes] = {}
        due = time.monotonic() + self._seconds * _SHARE
        try:
            found = await self._ask(group.kind, list(dict.fromkeys([one.id for one in batch])))
        except grpc.aio.AioRpcError as error:  # whose it is shows when each asks alone
            log.debug("batch failed", code=error.code().name, reads=len(batch))
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._part_for_time(time.monotonic() - due)
        except Exception as error:
            log.error("batch failed", reads=len(batch), exc_info=error)
        finally:
            group.under_way -= 1
            self._send(group)  # before the answers are written: the next one is worked on meanwhile
            for one in batch:
                try:
                    one.told(found.get(one.id))
                except Exception as error:  # its connection's; the others have nothing else that ends their wait
                    log.error("answer failed", exc_info=error)

    async def _ask(self, kind: Kind, ids: list[str]) -> dict[str, bytes]:
        entity, features = kind
        request = pb.BatchGetFeaturesRequest(entity=entity, ids=ids, features=features)
        answer: pb.BatchGetFeaturesResponse = await self._many(request, timeout=self._seconds * _SHARE)
        if answer.degraded:
            self._part()
            return {}
        return singles(answer, bool(features), time.time_ns() // 1_000_000)
