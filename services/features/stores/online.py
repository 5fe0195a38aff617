"""Records and marks in Redis: one packed value per entity, read by MGET, changed by compare-and-set."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast

from services.features.domain.features import ERASED, KNOWN, NO_TOKEN, Entry, Record, merged
from services.features.ports import (
    NO_COUNTERS,
    SETTLE_MS,
    Counters,
    Erased,
    MarksLostError,
    Meanwhile,
    RecordsMissedError,
    StoreDownError,
    Touched,
)
from services.features.stores.keys import BUCKETS, CONFIRMED, LATER, buckets, due_key, later_member, record_key
from services.features.stores.marks import TOKEN_TTL_MS, TokenMarks, jittered, token_marks
from services.features.stores.packing import TOKEN_LENGTH, pack, unpack
from services.features.stores.redis import Command, RedisStore, Script, command
from services.runtime.generations import Repeated
from services.runtime.turns import mapped, pieces

# ARGV: body as it was read, new body, ttl in ms. 1: written, with whatever token the record has by now.
# 0: the body changed meanwhile. -1: the record is gone.
_REPLACE_BODY = Script("""
local current = redis.call('GET', KEYS[1])
if not current then return -1 end
if string.sub(current, 9) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], string.sub(current, 1, 8) .. ARGV[2], 'PX', ARGV[3])
return 1
""")

# A record that was erased ends by itself: until then it keeps out what was computed before. Erasure is its first entry
# (see `erase`, and `merged` keeps the order): after the head of a map, of 1 or (0xde) 3 bytes, the number -1 is 0xff.
_FORGET = Script("""
local current = redis.call('GETRANGE', KEYS[1], 8, 11)
if string.byte(current, string.byte(current, 1) == 0xde and 4 or 2) == 0xff then return 0 end
return redis.call('DEL', KEYS[1])
""")

# What is left of an erased record, its key has the id: longer than a computation takes, no longer than needed.
_ERASED_TTL_MS = 120_000
# Seconds beyond the store's own time: a chunk of a bulk load marks thousands of entities.
_EXTRA_PER_ENTITY = 0.0002
_WRITE_ATTEMPTS = 4
_CONFIRMED_TTL = 86_400
# Ids from which on their keys are remembered when they are read together again; bytes of them in one generation, of
# two; what an id and its key take; seconds.
_MANY, _ROOM, _NAME, _LIFE = 20, 8_000_000, 100, 60.0


class RedisOnlineStore:
    """Implements OnlineStore."""

    def __init__(self, store: RedisStore, read_through: frozenset[str]) -> None:
        """``read_through``: the entity types of which a mark makes values dirty; of others it only makes them due.

        Those are people, who are many and are read one by one: their records are packed tightly.
        """
        self._store = store
        self._read_through = read_through
        self._named: Repeated[tuple[str, tuple[str, ...]], list[str]] = Repeated(_ROOM, _LIFE)

    async def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        """See OnlineStore."""
        return _records(_packed(await self._get(entity, ids)))

    async def packed(self, entity: str, ids: Sequence[str], meanwhile: Meanwhile | None = None) -> list[bytes | None]:
        """See OnlineStore."""
        if entity in self._read_through:
            return _packed(await self._get(entity, ids))
        held: Sequence[bytes | None] | None = None

        def whole(values: Sequence[bytes | None]) -> None:
            nonlocal held
            held = values
            if meanwhile is not None:
                meanwhile(values)

        answers = await self._store.often(self._often(entity, ids), _extra(len(ids)), whole)
        return answers if answers is held else _packed(answers)

    def unpack(self, packed: bytes | None, only: Collection[int] | None = None) -> Record:
        """See OnlineStore."""
        return unpack(packed, only)

    async def begin(self, entity: str, ids: Sequence[str]) -> list[Record]:
        """See OnlineStore."""
        commands = []
        for entity_id in ids:
            key, token = record_key(entity, entity_id), os.urandom(TOKEN_LENGTH)
            commands.append(command("SET", key, token, "PX", jittered(TOKEN_TTL_MS), "NX"))
            commands.append(command("GET", key))
        return _records(_packed((await self._store.send(commands, _extra(len(ids))))[1::2]))

    async def write(
        self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]
    ) -> set[str]:
        """See OnlineStore. Gives up on a record that others keep changing: a value that is not there is computed."""
        tight = entity in self._read_through
        pending, erased = dict(entries), set[str]()

        def there(entry: tuple[Record, Mapping[int, Entry]]) -> bytes | StoreDownError | None:
            """What was read, as a rule."""
            return NO_TOKEN + (pack(entry[0].entries, tight) if entry[0].entries else b"")

        raws = dict(zip(pending, await mapped(there, list(pending.values())), strict=True))
        down: StoreDownError | None = None
        for _ in range(_WRITE_ATTEMPTS):
            scripts: dict[str, Command] = {}
            async for piece in pieces(list(raws.items())):
                for entity_id, raw in piece:
                    if raw is None:
                        continue
                    if isinstance(raw, StoreDownError):
                        down = raw
                        continue
                    read, new = pending[entity_id]
                    record = unpack(raw)
                    if same_life(record, read):
                        packed, key = pack(merged(record.entries, new), tight), record_key(entity, entity_id)
                        scripts[entity_id] = _REPLACE_BODY.on(key, raw[TOKEN_LENGTH:], packed, jittered(ttl_ms))
                    else:
                        erased.add(entity_id)
            written = await self._store.send(list(scripts.values()), _extra(len(scripts)))
            down = next(iter(_failures(written)), down)
            pending = {i: pending[i] for i, done in zip(scripts, written, strict=True) if done == 0}
            if not pending:
                break
            raws = dict(zip(pending, await self._get(entity, list(pending)), strict=True))
        if down is not None:
            raise down
        return erased

    async def mark(
        self, touched: Touched, now_ms: int, transactions: Sequence[int], some: Counters = NO_COUNTERS
    ) -> None:
        """See OnlineStore. The confirmation is the last command: it is never there without the marks."""
        tokens: list[TokenMarks] = []
        queues: list[Command] = []
        for entity, ids in touched.items():
            if entity in self._read_through:
                tokens += token_marks(entity, ids, some.get(entity, {}))
            queues += self._queue_marks(entity, ids, now_ms)
        confirmation: list[Command] = []
        if transactions:
            scored = [word for number in transactions for word in (number, number)]
            confirmation.append(command("ZADD", CONFIRMED, *scored))
            confirmation.append(command("EXPIRE", CONFIRMED, _CONFIRMED_TTL, "NX"))
        dirty = [marks.command for marks in tokens]
        extra = _extra(sum(map(len, touched.values())))
        if self._store.ordered:
            await self._store.pipeline([*dirty, *queues, *confirmation], extra)
            return
        answers = await self._store.send(dirty, extra)
        lost = {
            (marks.entity, entity_id)
            for marks, answer in zip(tokens, answers, strict=True)
            if isinstance(answer, StoreDownError)
            for entity_id in marks.ids
        }
        try:
            await self._store.pipeline([*queues, *(() if lost else confirmation)], extra)
        except StoreDownError:
            # What is dirty is computed on read; it becomes due when the log tail repeats what was not confirmed.
            lost |= {(entity, i) for entity, ids in touched.items() if entity not in self._read_through for i in ids}
            if not lost and not transactions:
                raise  # nobody would repeat it
        if lost:
            raise MarksLostError(
                {entity: {i: at for i, at in ids.items() if (entity, i) in lost} for entity, ids in touched.items()}
            )

    async def forget(self, entity: str, ids: Sequence[str]) -> None:
        """See OnlineStore. One command per record: their keys lie in different buckets."""
        await self._store.pipeline([_FORGET.on(record_key(entity, entity_id)) for entity_id in ids], _extra(len(ids)))

    async def erase(self, entity: str, entity_id: str, now_ms: int, later: Sequence[int]) -> Erased:
        """See OnlineStore. For a short time a mark stays in the record's place, for those who still compute."""
        token, name = os.urandom(TOKEN_LENGTH), os.urandom(TOKEN_LENGTH)
        # `name` makes two erasures of one millisecond differ.
        body = pack({ERASED: Entry(now_ms, name, True)}, tight=False)
        key = record_key(entity, entity_id)
        record = [command("GET", key), command("SET", key, token + body, "PX", _ERASED_TTL_MS)]
        queues = [command("ZREM", due_key(entity), entity_id)]
        if later:
            queues.append(command("ZREM", LATER, *(later_member(entity, entity_id, at) for at in later)))
        # The record first: who queues the entity after that sees that it was erased.
        before, _ = await self._store.pipeline(record)
        removed = await self._store.pipeline(queues, _extra(len(later)))
        values = unpack(before).entries.keys() - {ERASED, KNOWN}
        return Erased(bool(values), sum(removed))

    def _often(self, entity: str, ids: Sequence[str]) -> Sequence[str]:
        """The keys of what is read again and again, and perhaps together with the same."""
        if len(ids) < _MANY or not isinstance(ids, tuple):
            return _keys(entity, ids)
        now = time.monotonic()
        keys = self._named.get((entity, ids), now)
        if keys is None:
            keys = _keys(entity, ids)
            self._named.keep((entity, ids), keys, len(ids) * _NAME, now)
        return keys

    async def _get(self, entity: str, ids: Sequence[str]) -> list[bytes | StoreDownError | None]:
        return await self._store.values(_keys(entity, ids), _extra(len(ids)))

    def _queue_marks(self, entity: str, ids: Mapping[str, Sequence[int]], now_ms: int) -> list[Command]:
        """For the worker; what a read computes anyway may settle first."""
        later = [
            word
            for entity_id, instants in ids.items()
            for at in instants
            if at > now_ms
            for word in (at, later_member(entity, entity_id, at))
        ]
        commands = [command("ZADD", LATER, *later)] if later else []
        if ids:
            due_ms = (now_ms // SETTLE_MS + 1) * SETTLE_MS if entity in self._read_through else now_ms
            commands.append(command("ZADD", due_key(entity), "LT", *(word for i in ids for word in (due_ms, i))))
        return commands


def _keys(entity: str, ids: Sequence[str]) -> list[str]:
    """As record_key has it, without three calls for each."""
    names = buckets(entity)
    return [f"{names[zlib.crc32(entity_id.encode()) % BUCKETS]}:{entity_id}" for entity_id in ids]


def _failures(answers: Iterable[object]) -> list[StoreDownError]:
    return [answer for answer in answers if isinstance(answer, StoreDownError)]


def _packed(answers: Sequence[bytes | StoreDownError | None]) -> list[bytes | None]:
    """When no server answered it is the store that is down."""
    if set(map(type, answers)) == {bytes}:  # as a rule
        return cast(list[bytes | None], answers)
    failures = _failures(answers)
    if failures and len(failures) == len(answers):
        raise failures[0]
    return [None if isinstance(raw, StoreDownError) else raw or b"" for raw in answers]


def _records(packed: Sequence[bytes | None]) -> list[Record]:
    records = [None if raw is None else unpack(raw) for raw in packed]
    if None in packed:
        raise RecordsMissedError(records)
    return [record for record in records if record is not None]


def same_life(record: Record, read: Record) -> bool:
    """Whether an entity was not erased between two looks at its record."""
    return record.entries.get(ERASED) == read.entries.get(ERASED)


def _extra(entities: int) -> float:
    return entities * _EXTRA_PER_ENTITY
