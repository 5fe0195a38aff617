"""Marks in records: what makes values dirty, one script for each bucket of records."""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from services.features.domain.tokens import ALL
from services.features.stores.keys import bucket as bucket_of
from services.features.stores.packing import TOKEN_LENGTH
from services.features.stores.redis import Command, Script

# ARGV: ttl in ms of records that have none yet; for each key, as a hexadecimal digit, the counters of its token that
# move, and a token for a record that is new. From now on values that depend on these are dirty. In a server that is out
# of memory records are removed instead: for that it has room.
_MARK = Script("""
for place, key in ipairs(KEYS) do
  local done
  if redis.call('STRLEN', key) < 8 then
    done = redis.pcall('SETRANGE', key, 0, string.sub(ARGV[3], 8 * place - 7, 8 * place))
  else
    local some, counters = tonumber(string.sub(ARGV[2], place, place), 16), {}
    for counter = 0, 3 do
      if some % 2 == 1 then
        for _, word in ipairs({'INCRBY', 'u16', '#' .. counter, 1}) do counters[#counters + 1] = word end
      end
      some = math.floor(some / 2)
    end
    done = redis.pcall('BITFIELD', key, unpack(counters))
  end
  if type(done) == 'table' and done.err then redis.call('DEL', key)
  else redis.call('PEXPIRE', key, ARGV[1], 'NX') end
end
""")

# A record with nothing but a token outlives every computation that was under way when it was written.
TOKEN_TTL_MS = 3_600_000


class TokenMarks(NamedTuple):
    """What makes entities of one bucket dirty."""

    entity: str
    ids: Sequence[str]
    command: Command


def token_marks(entity: str, ids: Collection[str], some: Mapping[str, int]) -> list[TokenMarks]:
    """One script for each bucket: commands of their own for each entity would be half the cost of writing an event."""
    buckets: dict[str, list[str]] = {}
    for entity_id in ids:
        buckets.setdefault(bucket_of(entity, entity_id), []).append(entity_id)
    return [
        TokenMarks(
            entity,
            members,
            _MARK.on(
                tuple(f"{bucket}:{entity_id}" for entity_id in members),
                jittered(TOKEN_TTL_MS),
                "".join([f"{some.get(entity_id, ALL):x}" for entity_id in members]),
                os.urandom(TOKEN_LENGTH * len(members)),
            ),
        )
        for bucket, members in buckets.items()
    ]


def jittered(ttl_ms: int) -> int:
    """Up to a tenth longer, so that what was written together does not go together."""
    return ttl_ms + random.randrange(ttl_ms // 10 + 1)  # noqa: S311 - no secret
