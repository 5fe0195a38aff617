"""The due queue and the log tail's memory in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.features.ports import Arrival, Claim
from services.features.stores.online import CONFIRMED, LATER, PREFIX, due_key
from services.features.stores.redis import RedisStore

_CURSOR = PREFIX + "marks:cursor"

# A worker that is killed holds its entities for this long. Far above the longest batch.
LEASE_MS = 30_000

# ARGV: now, limit, lease. Returns id, due time, id, due time ... of what was claimed, longest waiting first.
_CLAIM = """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #found, 2 do redis.call('ZADD', KEYS[1], ARGV[3], found[i]) end
return found
"""

# ARGV: lease, then id and next due time ('' for none) of each. One that was touched meanwhile has another score, and
# keeps it.
_COMPLETE = """
for i = 2, #ARGV, 2 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '-1') == tonumber(ARGV[1]) then
    if ARGV[i + 1] == '' then redis.call('ZREM', KEYS[1], ARGV[i])
    else redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i]) end
  end
end
return 1
"""

# Arguments of one script call; Lua's stack takes some thousands.
_COMPLETE_AT_ONCE = 1_000


class RedisDueQueue:
    """Implements DueQueue and TailState."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._claim = store.script(_CLAIM)
        self._complete = store.script(_COMPLETE)

    async def enqueue(self, entity: str, due: Mapping[str, int]) -> None:
        """See DueQueue."""
        if due:
            await self._store.run(lambda: self._store.client.zadd(due_key(entity), dict(due), lt=True))

    async def claim(self, entity: str, now_ms: int, limit: int) -> list[Claim]:
        """See DueQueue."""
        lease = now_ms + LEASE_MS
        found = await self._store.run(lambda: self._claim(keys=[due_key(entity)], args=[now_ms, limit, lease]))
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
            await self._store.run(
                lambda arguments=arguments: self._complete(keys=[due_key(entity)], args=arguments),  # type: ignore[misc]  # a default binds it now
            )

    async def length(self, entity: str, now_ms: int) -> int:
        """See DueQueue."""
        length: int = await self._store.execute("ZCOUNT", due_key(entity), "-inf", now_ms)
        return length

    async def cursor(self) -> int | None:
        """See TailState."""
        raw = await self._store.execute("GET", _CURSOR)
        return None if raw is None else int(raw)

    async def advance(self, cursor: int) -> None:
        """See TailState."""
        async with self._store.client.pipeline(transaction=False) as pipe:
            pipe.execute_command("SET", _CURSOR, cursor)
            pipe.execute_command("ZREMRANGEBYSCORE", CONFIRMED, "-inf", f"({cursor}")
            await self._store.run(pipe.execute)

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
