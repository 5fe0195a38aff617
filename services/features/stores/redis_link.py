"""A connection to a Redis server that all callers share: what they ask in one turn of the loop goes out together.

A pool gives each call a connection of its own; taking it, giving it back and waiting on its stream costs many times
what the call itself does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio.connection import Connection, parse_url

# Seconds. When time is up the loop gets a moment more to read what has arrived: after a busy spell of our own the timer
# fires before the socket is looked at, and a server that answered in time would be taken for slow.
_MOMENT = 0.005


class RefusedError(Exception):
    """A server's answer that it does not do something. ``code`` is its first word: MOVED, NOSCRIPT, OOM, ERR, ..."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class Question(NamedTuple):
    """How many answers are to come, those that have, who waits for them, and until when."""

    wanted: int
    answers: list[Any]
    asked: asyncio.Future[list[Any]]
    patience: asyncio.TimerHandle


class Link(asyncio.Protocol):
    """One connection. Questions are answered in their order; nobody waits for another's answer longer than its own."""

    # What is asked before anything else, after what opens the door; it may be refused.
    greeting: tuple[tuple[Any, ...], ...] = ()

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=RefusedError)
        self._questions: deque[Question] = deque()
        self._transport: asyncio.Transport | None = None
        self._late = False
        # Hashes of the scripts whose sources the server was sent here: from then on it knows them.
        self.scripts: set[str] = set()
        # Whether the server tells when something changes that was read here.
        self.tells = False

    @property
    def retired(self) -> bool:
        """Whether new questions must go elsewhere: it was too slow once, or is broken, of which we are told later."""
        return self._late or self._transport is None or self._transport.is_closing()

    def ask(self, commands: Sequence[tuple[Any, ...]], seconds: float) -> asyncio.Future[list[Any]]:
        """The answers, a RefusedError in the place of what was refused; OSError, or TimeoutError after ``seconds``."""
        asked: asyncio.Future[list[Any]] = self._loop.create_future()
        packed = list(map(hiredis.pack_command, commands))
        patience = self._loop.call_later(seconds, self._overdue, asked)
        self._questions.append(Question(len(commands), [], asked, patience))
        if self._transport is not None:
            self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))
        return asked

    def greeted(self, answers: Sequence[Any]) -> None:
        """Hears what the greeting was answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        reader, questions = self._reader, self._questions
        try:
            reader.feed(data)
            # False is what the reader says when an answer is not complete; this protocol has no false of its own.
            while (answer := reader.gets()) is not False:
                if type(answer) is hiredis.PushNotification:
                    self._pushed(answer)
                    continue
                question = questions[0]
                question.answers.append(answer)
                if len(question.answers) == question.wanted:
                    questions.popleft()
                    question.patience.cancel()
                    self._answered(question)
        except (hiredis.ProtocolError, IndexError) as error:  # no Redis, or answers that nobody asked for
            self._fail(error)
        if self._late:
            self._end_when_idle()

    def _answered(self, question: Question) -> None:
        if not question.asked.done():
            question.asked.set_result(question.answers)

    def _pushed(self, said: Sequence[Any]) -> None:
        """What the server says without being asked; only who greets it so hears any."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._fail(exc)

    def close(self) -> None:
        """Ends it; who waits gets OSError."""
        self._fail(None)

    def _overdue(self, asked: asyncio.Future[list[Any]]) -> None:
        if not asked.done():
            self._loop.call_later(_MOMENT, self._give_up, asked)

    def _give_up(self, asked: asyncio.Future[list[Any]]) -> None:
        if asked.done():
            return
        asked.set_exception(TimeoutError())
        # Perhaps it leads nowhere any more, and nothing would ever say so. Others may still get their answers.
        self._late = True
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if all(question.asked.done() for question in self._questions):
            self._fail(None)

    def _fail(self, cause: Exception | None) -> None:
        if self._transport is not None:
            self._transport.abort()
        while self._questions:
            question = self._questions.popleft()
            question.patience.cancel()
            if not question.asked.done():
                error = ConnectionError(str(cause) or type(cause).__name__) if cause else ConnectionError("closed")
                question.asked.set_exception(error)


# Opens a link in so many seconds; OSError or TimeoutError when that is impossible.
Opener = Callable[[float], Awaitable[Link]]


def opener(url: str, kind: Callable[[], Link] = Link) -> Opener:
    """What opens links to the server at ``url``: redis://, rediss:// or unix://, with user, password and database."""
    options: dict[str, Any] = dict(parse_url(url))
    # Only to read the URL: the driver knows all the options of TLS.
    tls = getattr(options.pop("connection_class", Connection)(**options), "ssl_context", None)
    greeting: list[tuple[Any, ...]] = []
    if options.get("password"):
        greeting.append(("AUTH", *filter(None, (options.get("username"), options["password"]))))
    if options.get("db"):
        greeting.append(("SELECT", options["db"]))

    async def opened(seconds: float) -> Link:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            if "path" in options:
                _, link = await loop.create_unix_connection(kind, options["path"])
            else:
                where = options.get("host", "localhost"), options.get("port", 6379)
                _, link = await loop.create_connection(kind, *where, ssl=tls.get() if tls else None)
        try:
            for answer in await link.ask(greeting, seconds) if greeting else ():
                if isinstance(answer, RefusedError):
                    raise ConnectionError(str(answer))
            if link.greeting:
                link.greeted(await link.ask(link.greeting, seconds))
        except BaseException:
            link.close()
            raise
        return link

    return opened
