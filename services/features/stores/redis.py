"""The Redis client and its failures: one server, or several as a cluster; with ``redis_cluster`` all that knows it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from services.features.ports import ONLINE_STORE, Meanwhile, StoreDownError
from services.features.stores.breaker import Breaker
from services.features.stores.redis_link import Link, Opener, RefusedError, opener
from services.features.stores.redis_watching import WatchingLink

# TimeoutError is one of them.
_OUTAGE = OSError
# What a wrong command of ours is refused with. Every other refusal is the server's state: it loads its data, is out of
# memory, cannot write to its disk, is a replica after a failover, has new credentials.
_OUR_FAULT = ("ERR", "WRONGTYPE", "CROSSSLOT")
_OUT_OF_MEMORY = "OOM"
_NO_SCRIPT = "NOSCRIPT"
# A key that is, or is about to be, on another server of the cluster.
_ELSEWHERE = ("MOVED", "ASK", "TRYAGAIN")
# Seconds. Opening takes a busy cluster longer than answering does; meanwhile its callers go on without it.
_OPENING = 0.25
# Seconds without the connection on which values are held, after it failed.
_UNHELD = 1.0


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
        """The call, by hash; a server that may not know the script gets its source."""
        keys = (keys,) if isinstance(keys, str) else keys
        return Command(("EVALSHA", self._hash, len(keys), *keys, *arguments), keys[0], self._source)


R = TypeVar("R", bound="RedisServer")


class RedisServer:
    """One server. No answer in time is a StoreDownError, raised at once while the server is known to be down."""

    def __init__(self, opened: Opener, breaker: Breaker, timeout: float, watching: RedisServer | None = None) -> None:
        """``watching``: the same server over a connection on which it may tell of changes."""
        self._opened = opened
        self._breaker = breaker
        self._timeout = timeout
        self._watching = watching
        self._link: Link | None = None
        self._opening: asyncio.Task[Link] | None = None

    def beside(self, opened: Opener, kind: type[R]) -> R:
        """Another client of the same server, with connections of its own; it is down when this one is."""
        return kind(opened, self._breaker, self._timeout)

    @property
    def down(self) -> bool:
        """Whether it is known to be."""
        return self._breaker.open

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be broken."""
        return self._link is not None and not self._link.retired

    async def send(
        self, commands: Sequence[Command], extra: float = 0.0, meanwhile: Callable[[], object] | None = None
    ) -> list[Any]:
        """The answers, raw, in order, in one exchange; a RefusedError for a key that is elsewhere.

        It has its own time for that, or ``extra`` seconds more when there is much to do. ``meanwhile`` is called when
        the server has been asked.
        """
        self._breaker.check()
        if not commands:
            return []
        try:
            answers = await self._exchange(commands, self._timeout + extra, meanwhile)
        except _OUTAGE as error:
            raise self._failed(error) from error
        for answer in answers:
            if isinstance(answer, RefusedError) and answer.code not in _ELSEWHERE:
                if answer.code in _OUR_FAULT:
                    raise answer
                if answer.code == _OUT_OF_MEMORY:  # it still answers reads
                    raise StoreDownError(ONLINE_STORE, "out of memory") from answer
                raise self._failed(answer) from answer
        self._breaker.succeeded()
        return answers

    async def watched(self, commands: Sequence[Command]) -> tuple[list[Any], bool]:
        """`send`; and whether the server tells when something changes that was read so."""
        if self._watching is not None:
            # It may lack that connection alone: too many are open, or a proxy ends those that ask to be told.
            with contextlib.suppress(StoreDownError):
                answers = await self._watching.send(commands)
                link = self._watching._link
                return answers, link is not None and link.tells and not link.retired
        return await self.send(commands), False

    async def ask(self, *words: str) -> Any:
        """The answer to a command without a key, past the breaker. Raises StoreDownError."""
        try:
            (answer,) = await self._answers([words], self._timeout)
        except _OUTAGE as error:
            raise StoreDownError(ONLINE_STORE, type(error).__name__) from error
        if isinstance(answer, RefusedError):
            raise StoreDownError(ONLINE_STORE, answer.code)
        return answer

    async def ping(self) -> bool:
        """Whether it answers, past the breaker."""
        try:
            await self.ask("PING")
        except StoreDownError:
            return False
        return True

    async def close(self) -> None:
        """Ends what is under way."""
        if self._watching is not None:
            await self._watching.close()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))
        if self._link is not None:
            self._link.close()

    async def _exchange(
        self, commands: Sequence[Command], seconds: float, meanwhile: Callable[[], object] | None
    ) -> list[Any]:
        link, seconds = await self._linked(seconds)
        asked = link.ask([_words(link, c) for c in commands], seconds)
        if meanwhile is not None:
            meanwhile()
        answers = await asked
        refused = [n for n, answer in enumerate(answers) if isinstance(answer, RefusedError)]
        for place in refused:  # a server that loads its data, say, has not looked at the source
            link.scripts.discard(commands[place].words[1])
        unknown = [n for n in refused if answers[n].code == _NO_SCRIPT]
        if unknown:
            sources = [("EVAL", commands[place].source, *commands[place].words[2:]) for place in unknown]
            for place, answer in zip(unknown, await self._answers(sources, seconds), strict=True):
                answers[place] = answer
        return answers

    async def _answers(self, commands: Sequence[tuple[Any, ...]], seconds: float) -> list[Any]:
        link, seconds = await self._linked(seconds)
        return await link.ask(commands, seconds)

    async def _linked(self, seconds: float) -> tuple[Link, float]:
        """A connection, if need be the one that is being opened for all, and what is left of the caller's time."""
        if self._link is not None and not self._link.retired:
            return self._link, seconds
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
            # Retrieved: its callers may be gone by then, and a failure that nobody has seen is reported as lost.
            self._opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        opening = self._opening
        await asyncio.wait((opening,), timeout=seconds)
        if not opening.done():
            raise TimeoutError
        return opening.result(), max(0.0, until - loop.time())

    async def _open(self) -> Link:
        try:
            self._link = await self._opened(max(self._timeout, _OPENING))
        finally:
            self._opening = None
        return self._link

    def _failed(self, error: Exception) -> StoreDownError:
        self._breaker.failed(f"{type(error).__name__} {str(error)[:40]}".strip())
        return StoreDownError(ONLINE_STORE, type(error).__name__)


def _words(link: Link, command: Command) -> tuple[Any, ...]:
    """What is sent: a script's source where the connection has not sent it yet, for the server may be a new one.

    Later would be too late: what comes behind it in the same exchange says that its marks are done.
    """
    if not command.source or command.words[1] in link.scripts:
        return command.words
    link.scripts.add(command.words[1])
    return "EVAL", command.source, *command.words[2:]


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

    async def watched(self, commands: Sequence[Command]) -> tuple[list[Any], asyncio.Event | None]:
        """`send` of what reads keys of one slot, by one caller; and what is set when one of them has changed since.

        None: the server does not tell.
        """
        return await self.send(commands), None

    async def often(self, keys: Sequence[str], extra: float = 0.0, meanwhile: Meanwhile | None = None) -> list[Any]:
        """`values` of keys that are read again and again, as they are now; they may be held.

        Where all are, ``meanwhile`` is called with them while the server is asked whether they changed; when none did,
        the very same list is returned.
        """
        return await self.values(keys, extra)


# The values of keys, with so many seconds more, see RedisStore.often. Raises StoreDownError.
Values = Callable[[Sequence[str], float, Meanwhile | None], Awaitable[list[Any]]]


class LoneServer(RedisStore):
    """All keys on one server."""

    ordered = True

    def __init__(self, server: RedisServer, changed: asyncio.Event, holding: Values | None = None) -> None:
        """``changed``: what the server sets, see ``serving``. ``holding``: what reads values that may be held here."""
        self._server = server
        self._changed = changed
        self._holding = holding
        self._unheld_until = 0.0

    def slot(self, key: str) -> int:
        """See RedisStore."""
        return 0

    async def values(self, keys: Sequence[str], extra: float = 0.0) -> list[Any]:
        """See RedisStore."""
        (answer,) = await self.send((command("MGET", *keys),), extra)
        return [answer] * len(keys) if isinstance(answer, StoreDownError) else answer

    async def often(self, keys: Sequence[str], extra: float = 0.0, meanwhile: Meanwhile | None = None) -> list[Any]:
        """See RedisStore."""
        if self._holding is None or time.monotonic() < self._unheld_until:
            return await self.values(keys, extra)
        try:
            return await self._holding(keys, extra, meanwhile)
        except StoreDownError as error:
            self._unheld_until = time.monotonic() + _UNHELD
            if isinstance(error.__cause__, TimeoutError):  # no time is left
                return [error] * len(keys)
            # It may lack that connection alone, see RedisServer.watched.
            return await self.values(keys, extra)

    async def send(self, commands: Sequence[Command], extra: float = 0.0) -> list[Any]:
        """See RedisStore."""
        try:
            return _ours(await self._server.send(commands, extra))
        except StoreDownError as error:
            return [error] * len(commands)

    async def watched(self, commands: Sequence[Command]) -> tuple[list[Any], asyncio.Event | None]:
        """See RedisStore."""
        self._changed.clear()
        try:
            answers, told = await self._server.watched(commands)
        except StoreDownError as error:
            return [error] * len(commands), None
        return _ours(answers), self._changed if told else None


def _ours(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, RefusedError):
            raise answer  # of a cluster, but not declared as one
    return answers


@contextlib.asynccontextmanager
async def serving(
    url: str, timeout: float, changed: asyncio.Event, name: str = ONLINE_STORE
) -> AsyncIterator[RedisServer]:
    """A client of one server; nothing is opened before it is needed.

    ``changed`` is set when what was watched has changed. ``name``: in the log and in metrics.
    """
    breaker = Breaker(ONLINE_STORE, name)
    watching = RedisServer(opener(url, lambda: WatchingLink(changed.set)), breaker, timeout)
    server = RedisServer(opener(url), breaker, timeout, watching)
    try:
        async with breaker.probing(server.ping):
            yield server
    finally:
        await server.close()
