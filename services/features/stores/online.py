"""Records and marks in Redis: one packed value per entity, read by MGET, changed by compare-and-set."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Mapping, Sequence

import msgspec

from services.features.domain.features import EMPTY, ERASED, KNOWN, NO_TOKEN, Entry, Record, merged
from services.features.ports import Erased, Touched
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

# A record that was erased ends by itself: until then it keeps out what was computed before. Erasure is its first entry
# (see `erase`, and `merged` keeps the order): after the head of a map, of 1 or (0xde) 3 bytes, the number -1 is 0xff.
_FORGET = """
local current = redis.call('GETRANGE', KEYS[1], 8, 11)
if string.byte(current, string.byte(current, 1) == 0xde and 4 or 2) == 0xff then return 0 end
return redis.call('DEL', KEYS[1])
"""

# What is left of an erased record, its key has the id: longer than a computation takes, no longer than needed.
_ERASED_TTL_MS = 120_000
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
        self._forget = store.script(_FORGET)

    async def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        """See OnlineStore."""
        return [unpack(raw) for raw in await self._get(entity, ids)]

    async def write(
        self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]
    ) -> set[str]:
        """See OnlineStore. Gives up on a record that others keep changing: a value that is not there is computed."""
        pending, erased = dict(entries), set[str]()
        for attempt in range(_WRITE_ATTEMPTS):
            ids = list(pending)
            if attempt:
                bodies = [(raw or b"")[TOKEN_LENGTH:] for raw in await self._get(entity, ids)]
                records = [unpack(NO_TOKEN + body) for body in bodies]
                erased.update(i for i, record in zip(ids, records, strict=True) if not same_life(record, pending[i][0]))
            else:
                records = [pending[i][0] for i in ids]
                bodies = [pack(record.entries) if record.entries else b"" for record in records]
            async with self._store.client.pipeline(transaction=False) as pipe:
                for entity_id, record, body in zip(ids, records, bodies, strict=True):
                    if entity_id in erased:
                        continue
                    new = pack(merged(record.entries, pending[entity_id][1]))
                    await self._replace(
                        keys=[_key(entity, entity_id)], args=[body, new, _jittered(ttl_ms)], client=pipe
                    )
                written = await self._store.run(pipe.execute, _extra(len(ids)))
            tried = [i for i in ids if i not in erased]
            pending = {i: pending[i] for i, done in zip(tried, written, strict=True) if not done}
            if not pending:
                break
        return erased

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
                later = {
                    later_member(entity, i, at): at for i, instants in ids.items() for at in instants if at > now_ms
                }
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
                await self._forget(keys=[_key(entity, entity_id)], args=[], client=pipe)
            await self._store.run(pipe.execute, _extra(len(ids)))

    async def erase(self, entity: str, entity_id: str, now_ms: int, later: Sequence[int]) -> Erased:
        """See OnlineStore. For a short time a mark stays in the record's place, for those who still compute."""
        token, name = os.urandom(TOKEN_LENGTH), os.urandom(TOKEN_LENGTH)
        # `name` makes two erasures of one millisecond differ.
        body = pack({ERASED: Entry(now_ms, name, True)})
        async with self._store.client.pipeline(transaction=False) as pipe:
            key = _key(entity, entity_id)
            pipe.execute_command("GET", key)
            pipe.execute_command("SET", key, token + body, "PX", _ERASED_TTL_MS)
            pipe.execute_command("ZREM", due_key(entity), entity_id)
            if later:
                pipe.execute_command("ZREM", LATER, *(later_member(entity, entity_id, at) for at in later))
            before, _, due, *waiting = await self._store.run(pipe.execute, _extra(len(later)))
        values = unpack(before).entries.keys() - {ERASED, KNOWN}
        return Erased(bool(values), due + sum(waiting))

    async def _get(self, entity: str, ids: Sequence[str]) -> list[bytes | None]:
        keys = [_key(entity, entity_id) for entity_id in ids]
        raw: list[bytes | None] = await self._store.execute("MGET", *keys, extra=_extra(len(keys)))
        return raw


def same_life(record: Record, read: Record) -> bool:
    """Whether an entity was not erased between two looks at its record."""
    return record.entries.get(ERASED) == read.entries.get(ERASED)


def later_member(entity: str, entity_id: str, at_ms: int) -> str:
    """The wake-up of an entity for an event that is yet to come."""
    return f"{entity} {entity_id} {at_ms}"


def _key(entity: str, entity_id: str) -> str:
    return f"{PREFIX}{{{entity}{zlib.crc32(entity_id.encode()) % _BUCKETS}}}:{entity_id}"


def _jittered(ttl_ms: int) -> int:
    """Up to a tenth longer, so that what was written together does not go together."""
    return ttl_ms + random.randrange(ttl_ms // 10 + 1)  # noqa: S311 - no secret


def _extra(entities: int) -> float:
    return entities * _EXTRA_PER_ENTITY
