"""The due queue and the log tail's memory in Redis."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from services.features.ports import Arrival, Claim, Pending, StoreDownError
from services.features.stores.keys import CONFIRMED, LATER, MARKS, claimed_key, due_key
from services.features.stores.redis import RedisStore, Script, command
from services.features.watch_ports import Look

_CURSOR = MARKS + "cursor"
_RECEIPT = MARKS + "receipt:"
# Far longer than anybody waits before looking for it.
_RECEIPT_TTL_MS = 600_000

# Far above the longest batch.
LEASE_MS = 30_000

# ARGV: now, limit, lease. Returns id, due time, id, due time ... of what was claimed, longest waiting first. KEYS[2]
# keeps since when they were due.
_CLAIM = Script("""
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #found, 2 do
  redis.call('ZADD', KEYS[1], ARGV[3], found[i])
  redis.call('ZADD', KEYS[2], 'LT', found[i + 1], found[i])
end
return found
""")

# ARGV: lease, then id and next due time ('' for none) of each. One that was touched meanwhile has another score, and
# keeps it. One whose lease had ended, and that another worker has, is that one's to finish.
_COMPLETE = Script("""
local lease = tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local score = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '-1')
  if score == lease then
    if ARGV[i + 1] == '' then redis.call('ZREM', KEYS[1], ARGV[i])
    else redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i]) end
  end
  if score <= lease then redis.call('ZREM', KEYS[2], ARGV[i]) end
end
return 1
""")

# ARGV: now. Returns since when the first waits, due or claimed ('' for none), and the cursor. Who was claimed and has
# left the queue since, by an erasure, is nobody's any more.
_PENDING = Script("""
local since = ''
local due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if due[2] and tonumber(due[2]) <= tonumber(ARGV[1]) then since = due[2] end
local claimed = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
while claimed[1] and claimed[1] ~= '' and not redis.call('ZSCORE', KEYS[1], claimed[1]) do
  redis.call('ZREM', KEYS[2], claimed[1])
  claimed = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
end
if claimed[1] and claimed[1] ~= '' and (since == '' or tonumber(claimed[2]) < tonumber(since)) then
  since = claimed[2]
end
local sealed = redis.call('ZSCORE', KEYS[1], '') and redis.call('ZSCORE', KEYS[2], '')
return {since, sealed and redis.call('GET', KEYS[3])}
""")

# KEYS: the cursor, then the queues that it speaks of.
_GET_CURSOR = Script("""
for i = 2, #KEYS do
  if not redis.call('ZSCORE', KEYS[i], '') then return false end
end
return redis.call('GET', KEYS[1])
""")

# Arguments of one script call; Lua's stack takes some thousands.
_COMPLETE_AT_ONCE = 1_000


class RedisDueQueue:
    """Implements WatchedQueue and TailState."""

    def __init__(self, store: RedisStore, entities: Collection[str], lease_ms: int = LEASE_MS) -> None:
        """``lease_ms``: for how long a worker that is killed keeps what it had claimed."""
        self._store = store
        self._lease_ms = lease_ms
        self._entities = tuple(entities)
        self._queues = (LATER, *(key(entity) for entity in entities for key in (due_key, claimed_key)))

    async def enqueue(self, entity: str, due: Mapping[str, int]) -> None:
        """See DueQueue."""
        if due:
            scored = [word for entity_id, at in due.items() for word in (at, entity_id)]
            await self._store.execute("ZADD", due_key(entity), "LT", *scored)

    async def claim(self, entity: str, now_ms: int, limit: int) -> list[Claim]:
        """See DueQueue."""
        lease = now_ms + self._lease_ms
        keys = due_key(entity), claimed_key(entity)
        found = await self._store.call(_CLAIM.on(keys, now_ms, limit, lease))
        return [
            Claim(entity_id.decode(), lease, int(float(due)))
            for entity_id, due in zip(found[::2], found[1::2], strict=True)
        ]

    async def complete(self, entity: str, done: Sequence[tuple[Claim, int | None]]) -> None:
        """See DueQueue. All claims are of one batch: they have one lease."""
        for start in range(0, len(done), _COMPLETE_AT_ONCE):
            part = done[start : start + _COMPLETE_AT_ONCE]
            arguments: list[str | int] = [part[0][0].lease]
            for claim, due in part:
                arguments += [claim.id, "" if due is None else due]
            await self._store.call(_COMPLETE.on((due_key(entity), claimed_key(entity)), *arguments))

    async def look(self, now_ms: int) -> Look:
        """See WatchedQueue."""
        queues = [due_key(entity) for entity in self._entities]
        counts = [command("ZCOUNT", queue, "-inf", now_ms) for queue in queues]
        firsts = [command("ZRANGE", queue, 0, 0, "WITHSCORES") for queue in queues]
        answers, changed = await self._store.watched([*counts, *firsts])
        down = [answer for answer in answers if isinstance(answer, StoreDownError)]
        if down and len(down) == len(answers):
            raise down[0]
        found = zip(self._entities, answers, strict=False)
        lengths = {entity: count for entity, count in found if not isinstance(count, StoreDownError)}
        times = [_first_ms(first) for first in answers[len(queues) :] if not isinstance(first, StoreDownError)]
        next_ms = min((at for at in times if at is not None), default=None)
        return Look(lengths, next_ms, None if down else changed)

    async def pending(self, entity: str, now_ms: int) -> Pending:
        """See DueQueue."""
        keys = due_key(entity), claimed_key(entity), _CURSOR
        since, cursor = await self._store.call(_PENDING.on(keys, now_ms))
        return Pending(int(float(since)) if since else None, None if cursor is None else int(cursor))

    async def sign(self) -> str:
        """See DueQueue."""
        receipt = os.urandom(8).hex()
        await self._store.execute("SET", _RECEIPT + receipt, 1, "PX", _RECEIPT_TTL_MS)
        return receipt

    async def signed(self, receipt: str) -> bool:
        """See DueQueue."""
        return bool(await self._store.execute("EXISTS", _RECEIPT + receipt))

    async def cursor(self) -> int | None:
        """See TailState. None, too, when one of the queues was evicted: it went with its seal."""
        raw = await self._store.call(_GET_CURSOR.on((_CURSOR, *self._queues)))
        return None if raw is None else int(raw)

    async def renew(self) -> None:
        """See TailState. The seal is a member that no entity has the name of, and that is never due."""
        seals = [command("ZADD", queue, "inf", "") for queue in self._queues]
        await self._store.pipeline([command("DEL", _CURSOR), *seals])

    async def advance(self, cursor: int) -> None:
        """See TailState."""
        await self._store.pipeline(
            [command("SET", _CURSOR, cursor), command("ZREMRANGEBYSCORE", CONFIRMED, "-inf", f"({cursor}")]
        )

    async def confirmed(self, transactions: Sequence[int]) -> set[int]:
        """See TailState."""
        if not transactions:
            return set()
        scores = await self._store.execute("ZMSCORE", CONFIRMED, *transactions)
        return {number for number, score in zip(transactions, scores, strict=True) if score is not None}

    async def arrived(self, now_ms: int, limit: int) -> list[Arrival]:
        """See TailState."""
        found = await self._store.execute("ZRANGEBYSCORE", LATER, "-inf", now_ms, "LIMIT", 0, limit)
        keys = [member.decode() for member in found]
        return [
            Arrival(entity, rest.partition(" ")[0], key) for key in keys for entity, _, rest in [key.partition(" ")]
        ]

    async def woken(self, arrivals: Sequence[Arrival]) -> None:
        """See TailState."""
        if arrivals:
            await self._store.execute("ZREM", LATER, *(arrival.key for arrival in arrivals))


def _first_ms(answer: Sequence[Any]) -> int | None:
    """The time of the first in a queue, None: there is none but the seal, which is due at the end of time.

    ``answer``: to ``ZRANGE 0 0 WITHSCORES``; over RESP3 it has a pair for each member.
    """
    if not answer:
        return None
    score = float((answer[0] if isinstance(answer[0], list) else answer)[1])
    return int(score) if math.isfinite(score) else None
