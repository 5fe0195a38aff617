"""Records and marks in Redis: one packed value per entity, read by MGET, changed by compare-and-set."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Mapping, Sequence

import msgspec

from services.features.domain.features import EMPTY, NO_TOKEN, Entry, Record, merged
from services.features.ports import Touched
from services.features.stores.redis import RedisStore

PREFIX = "ws:1:"
# Hash tags: a batch is one MGET on a single server, and at most this many on Redis Cluster, which the client does not
# speak yet.
_BUCKETS = 32
TOKEN_LENGTH = len(NO_TOKEN)

# Keys and lists that marks fill and the worker empties.
CONFIRMED = PREFIX + "marks:confirmed"
LATER = PREFIX + "marks:later"


def due_key(entity: str) -> str:
    """The sorted set of an entity type's members by due time."""
    return f"{PREFIX}due:{entity}"


# ARGV: body as it was read, new body, ttl in ms. 1: written, with whatever token the record has by now.
# 0: the body changed meanwhile.
_REPLACE_BODY = """
local current = redis.call('GET', KEYS[1])
local token = string.rep('\\0', 8)
local body = ''
if current then token = string.sub(current, 1, 8); body = string.sub(current, 9) end
if body ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], token .. ARGV[2], 'PX', ARGV[3])
return 1
"""

# A record with nothing but a token outlives every computation that was under way when it was written.
_TOKEN_TTL_MS = 3_600_000
# A mark waits for this long before the worker takes it up, for the entities of which a read computes anyway: a
# visitor's burst of events costs one refresh.
_SETTLE_MS = 500
# Seconds beyond the store's own time: a chunk of a bulk load marks thousands of entities.
_EXTRA_PER_ENTITY = 0.0002
_WRITE_ATTEMPTS = 4
_CONFIRMED_TTL = 86_400

_decoder = msgspec.msgpack.Decoder(dict[int, Entry])
_encoder = msgspec.msgpack.Encoder()


def pack(entries: Mapping[int, Entry]) -> bytes:
    """The body of a record."""
    return _encoder.encode(entries)


def unpack(raw: bytes | None) -> Record:
    """A record as it is stored; what cannot be read (another version's, a foreign value) counts as missing."""
    if raw is None or len(raw) < TOKEN_LENGTH:
        return EMPTY
    token, body = raw[:TOKEN_LENGTH], raw[TOKEN_LENGTH:]
    if not body:
        return Record(token, {})
    try:
        return Record(token, _decoder.decode(body))
    except msgspec.DecodeError:
        return Record(token, {})


class RedisOnlineStore:
    """Implements OnlineStore."""

    def __init__(self, store: RedisStore, read_through: frozenset[str]) -> None:
        """``read_through``: the entity types of which a mark makes values dirty; of others it only makes them due."""
        self._store = store
        self._read_through = read_through
        self._replace = store.script(_REPLACE_BODY)

    async def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        """See OnlineStore."""
        return [unpack(raw) for raw in await self._get(entity, ids)]

    async def write(self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]) -> None:
        """See OnlineStore. Gives up on a record that others keep changing: a value that is not there is computed."""
        pending = dict(entries)
        for attempt in range(_WRITE_ATTEMPTS):
            ids = list(pending)
            if attempt:
                bodies = [(raw or b"")[TOKEN_LENGTH:] for raw in await self._get(entity, ids)]
                records = [unpack(NO_TOKEN + body) for body in bodies]
            else:
                records = [pending[i][0] for i in ids]
                bodies = [pack(record.entries) if record.entries else b"" for record in records]
            async with self._store.client.pipeline(transaction=False) as pipe:
                for entity_id, record, body in zip(ids, records, bodies, strict=True):
                    new = pack(merged(record.entries, pending[entity_id][1]))
                    await self._replace(
                        keys=[_key(entity, entity_id)], args=[body, new, _jittered(ttl_ms)], client=pipe
                    )
                written = await self._store.run(pipe.execute, _extra(len(ids)))
            pending = {i: pending[i] for i, done in zip(ids, written, strict=True) if not done}
            if not pending:
                return

    async def mark(self, touched: Touched, now_ms: int, transactions: Sequence[int]) -> None:
        """See OnlineStore. The confirmation is the last command: it is never there without the marks."""
        size = 0
        async with self._store.client.pipeline(transaction=False) as pipe:
            for entity, ids in touched.items():
                size += len(ids)
                settle = 0
                if entity in self._read_through:
                    settle = _SETTLE_MS
                    tokens = os.urandom(TOKEN_LENGTH * len(ids))
                    for place, entity_id in enumerate(ids):
                        key, start = _key(entity, entity_id), place * TOKEN_LENGTH
                        pipe.execute_command("SETRANGE", key, 0, tokens[start : start + TOKEN_LENGTH])
                        pipe.execute_command("PEXPIRE", key, _jittered(_TOKEN_TTL_MS), "NX")
                later = {f"{entity} {i} {at}": at for i, instants in ids.items() for at in instants if at > now_ms}
                if later:
                    pipe.zadd(LATER, later)
                if ids:
                    pipe.zadd(due_key(entity), dict.fromkeys(ids, now_ms + settle), lt=True)
            if transactions:
                pipe.zadd(CONFIRMED, {str(number): number for number in transactions})
                pipe.execute_command("EXPIRE", CONFIRMED, _CONFIRMED_TTL, "NX")
            await self._store.run(pipe.execute, _extra(size))

    async def forget(self, entity: str, ids: Sequence[str]) -> None:
        """See OnlineStore. One command per record: their keys lie in different buckets."""
        async with self._store.client.pipeline(transaction=False) as pipe:
            for entity_id in ids:
                pipe.execute_command("DEL", _key(entity, entity_id))
            await self._store.run(pipe.execute, _extra(len(ids)))

    async def _get(self, entity: str, ids: Sequence[str]) -> list[bytes | None]:
        keys = [_key(entity, entity_id) for entity_id in ids]
        raw: list[bytes | None] = await self._store.execute("MGET", *keys, extra=_extra(len(keys)))
        return raw


def _key(entity: str, entity_id: str) -> str:
    return f"{PREFIX}{{{entity}{zlib.crc32(entity_id.encode()) % _BUCKETS}}}:{entity_id}"


def _jittered(ttl_ms: int) -> int:
    """Up to a tenth longer, so that what was written together does not go together."""
    return ttl_ms + random.randrange(ttl_ms // 10 + 1)  # noqa: S311 - no secret


def _extra(entities: int) -> float:
    return entities * _EXTRA_PER_ENTITY
