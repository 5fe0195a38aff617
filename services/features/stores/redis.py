"""The Redis client and its failures: one server, or several as a cluster; with ``redis_cluster`` all that knows it."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, NoScriptError, OutOfMemoryError, RedisError, ResponseError, TryAgainError

from services.features.ports import ONLINE_STORE, StoreDownError
from services.features.stores.breaker import Breaker

T = TypeVar("T")

_MOMENT = 0.005
# RuntimeError is uvloop's: a write to a connection that the server has reset, which the driver lets through.
_OUTAGE = (RedisError, OSError, TimeoutError, RuntimeError)
# What a wrong command of ours is refused with. Every other refusal is the server's state: it loads its data, is out of
# memory, cannot write to its disk, is a replica after a failover, has new credentials.
_OUR_FAULT = ("ERR", "WRONGTYPE", "CROSSSLOT")
# A key that is, or is about to be, on another server of the cluster.
_ELSEWHERE = (AskError, TryAgainError)


class Command(NamedTuple):
    """A command's words, the key by which its server is found, and the source where it is a script's."""

    words: tuple[Any, ...]
    key: str
    source: str = ""


def command(name: str, key: str, *arguments: Any) -> Command:
    """A command whose key comes first."""
    return Command((name, key, *arguments), key)


class Script:
    """A Lua script on one key, or on several of one slot."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._hash = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def on(self, keys: str | tuple[str, ...], *arguments: Any) -> Command:
        """The call, by hash; a server that does not know the script gets its source."""
        keys = (keys,) if isinstance(keys, str) else keys
        return Command(("EVALSHA", self._hash, len(keys), *keys, *arguments), keys[0], self._source)


class RedisServer:
    """One server. No answer in time is a StoreDownError, raised at once while the server is known to be down."""

    def __init__(self, client: Redis, breaker: Breaker, timeout: float) -> None:
        self._client = client
        self._breaker = breaker
        self._timeout = timeout

    @property
    def down(self) -> bool:
        """Whether it is known to be."""
        return self._breaker.open

    async def send(self, commands: Sequence[Command], extra: float = 0.0) -> list[Any]:
        """The answers, raw, in order, in one exchange; an error of the driver's for a key that is elsewhere.

        It has its own time for that, or ``extra`` seconds more when there is much to do.
        """
        self._breaker.check()
        try:
            answers = await _within(self._timeout + extra, lambda: self._exchange(commands))
        except _OUTAGE as error:
            raise self._failed(error) from error
        for answer in answers:
            if isinstance(answer, RedisError) and not isinstance(answer, _ELSEWHERE):
                if _is_bug(answer):
                    raise answer
                if isinstance(answer, OutOfMemoryError):  # it still answers reads
                    raise StoreDownError(ONLINE_STORE, "out of memory") from answer
                raise self._failed(answer) from answer
        self._breaker.succeeded()
        return answers

    async def ask(self, *words: str) -> Any:
        """The answer to a command without a key, past the breaker. Raises StoreDownError."""
        try:
            return await _within(self._timeout, lambda: self._client.execute_command(*words))  # type: ignore[no-untyped-call]  # redis publishes no types for it
        except _OUTAGE as error:
            raise StoreDownError(ONLINE_STORE, type(error).__name__) from error

    async def ping(self) -> bool:
        """Whether it answers, past the breaker."""
        try:
            await self.ask("PING")
        except StoreDownError:
            return False
        return True

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        answers = await self._answers([c.words for c in commands])
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            sources = [("EVAL", commands[place].source, *commands[place].words[2:]) for place in unknown]
            for place, answer in zip(unknown, await self._answers(sources), strict=True):
                answers[place] = answer
        return answers

    async def _answers(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if len(commands) == 1:
            try:
                return [await self._client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]  # as above
            except ResponseError as error:
                return [error]
        async with self._client.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)
            return await pipe.execute(raise_on_error=False)

    def _failed(self, error: Exception) -> StoreDownError:
        self._breaker.failed(f"{type(error).__name__} {str(error)[:40]}".strip())
        return StoreDownError(ONLINE_STORE, type(error).__name__)


class RedisStore(ABC):
    """Where keys are, on whatever servers."""

    # Whether commands that are sent together are executed in their order, all or none but for a server's death.
    ordered: bool

    @abstractmethod
    async def send(self, commands: Sequence[Command], extra: float = 0.0) -> list[Any]:
        """The answer to each; a StoreDownError in the place of what a server did not answer."""

    @abstractmethod
    def slot(self, key: str) -> int:
        """Keys of one slot may be named in one command."""

    async def pipeline(self, commands: Sequence[Command], extra: float = 0.0) -> list[Any]:
        """The answers. StoreDownError when a server is down; the others have done their part nevertheless."""
        answers = await self.send(commands, extra)
        for answer in answers:
            if isinstance(answer, StoreDownError):
                raise answer
        return answers

    async def execute(self, *words: Any) -> Any:
        """The answer to a command whose key, if any, comes first. Raises StoreDownError."""
        return (await self.pipeline([Command(words, words[1] if len(words) > 1 else "")]))[0]

    async def call(self, script: Command) -> Any:
        """The answer to a script. Raises StoreDownError."""
        return (await self.pipeline([script]))[0]

    async def values(self, keys: Sequence[str], extra: float = 0.0) -> list[Any]:
        """The value of each key or None; a StoreDownError for each whose server is down. One MGET for each slot."""
        slots: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            slots.setdefault(self.slot(key), []).append(place)
        groups = list(slots.values())
        answers = await self.send([command("MGET", *(keys[place] for place in group)) for group in groups], extra)
        result: list[Any] = [None] * len(keys)
        for group, answer in zip(groups, answers, strict=True):
            for nth, place in enumerate(group):
                result[place] = answer if isinstance(answer, StoreDownError) else answer[nth]
        return result


class LoneServer(RedisStore):
    """All keys on one server."""

    ordered = True

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def slot(self, key: str) -> int:
        """See RedisStore."""
        return 0

    async def send(self, commands: Sequence[Command], extra: float = 0.0) -> list[Any]:
        """See RedisStore."""
        try:
            answers = await self._server.send(commands, extra)
        except StoreDownError as error:
            return [error] * len(commands)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer  # of a cluster, but not declared as one
        return answers


async def _within(seconds: float, call: Callable[[], Awaitable[T]]) -> T:
    """The result of ``call()``; TimeoutError when it takes longer.

    When time is up the loop gets a moment more to read what has arrived: after a busy spell of our own the timer fires
    before the socket is looked at, and a store that answered in time would be taken for slow.
    """
    task = asyncio.ensure_future(call())
    try:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            await asyncio.wait((task,), timeout=_MOMENT)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()


def _is_bug(error: RedisError) -> bool:
    """The driver keeps the code of an error it knows apart from its text."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return isinstance(error, ResponseError) and code in _OUR_FAULT


@asynccontextmanager
async def serving(url: str, connections: int, timeout: float, name: str = ONLINE_STORE) -> AsyncIterator[RedisServer]:
    """A client of one server; nothing is opened before it is needed. ``name``: in the log and in metrics."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout,  # waiting for a free connection
        socket_timeout=5.0,  # the timeout of each call is what counts: see send
        socket_connect_timeout=max(timeout, 0.25),
        # A retry of a hung server costs the same time again; the answer comes from the log meanwhile.
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    client = Redis(connection_pool=pool)
    breaker = Breaker(ONLINE_STORE, name)
    server = RedisServer(client, breaker, timeout)
    try:
        async with breaker.probing(server.ping):
            yield server
    finally:
        await client.aclose()
        await pool.disconnect()
