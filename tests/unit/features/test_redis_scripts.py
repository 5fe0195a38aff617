"""Scripts are sent so that none is missing when what comes behind it is executed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.features.ports import StoreDownError
from services.features.stores.breaker import Breaker
from services.features.stores.redis import RedisServer, Script, command
from services.features.stores.redis_link import RefusedError


class Server:
    """Answers with the number of a command; it knows no script whose source it has not seen since it ``began``."""

    def __init__(self) -> None:
        self.exchanges: list[list[tuple[Any, ...]]] = []
        self.known: set[str] = set()
        self.links: list[Connection] = []
        self.loading = False

    async def open(self, seconds: float) -> Connection:
        self.links.append(Connection(self))
        return self.links[-1]


class Connection:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.scripts: set[str] = set()
        self.retired = False

    async def ask(self, commands: Sequence[tuple[Any, ...]], seconds: float) -> list[Any]:
        self._server.exchanges.append(list(commands))
        answers: list[Any] = []
        for number, words in enumerate(commands):
            if self._server.loading:
                answers.append(RefusedError("LOADING Redis is loading the dataset in memory"))
                continue
            if words[0] == "EVAL":
                self._server.known.add(Script(words[1]).on("k").words[1])
            unknown = words[0] == "EVALSHA" and words[1] not in self._server.known
            answers.append(RefusedError("NOSCRIPT no such script") if unknown else number)
        return answers

    def close(self) -> None:
        self.retired = True


FIRST, SECOND = Script("return 1"), Script("return 2")


def connected(server: Server) -> RedisServer:
    return RedisServer(server.open, Breaker("online-store"), 1.0)  # type: ignore[arg-type]  # what it needs of a link


def sent(exchange: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [words[:1] + words[2:] for words in exchange]


async def test_a_connection_sends_the_source_of_a_script_first() -> None:
    """No script is executed after what comes behind it, also on a server that has just begun."""
    server = Server()
    redis = connected(server)
    commands = [FIRST.on("a", 1), FIRST.on("b", 2), SECOND.on(("c", "d"), 3), command("ZADD", "confirmed", 1, 1)]
    assert await redis.send(commands) == [0, 1, 2, 3]
    assert sent(server.exchanges[0]) == [
        ("EVAL", 1, "a", 1), ("EVALSHA", 1, "b", 2), ("EVAL", 2, "c", "d", 3), ("ZADD", 1, 1)
    ]  # fmt: skip
    await redis.send(commands)
    assert [words[0] for words in server.exchanges[1]] == ["EVALSHA", "EVALSHA", "EVALSHA", "ZADD"]
    # The server is started anew: its connections have ended.
    server.known.clear()
    server.links[0].close()
    assert await redis.send(commands) == [0, 1, 2, 3]
    assert [words[0] for words in server.exchanges[2]] == ["EVAL", "EVALSHA", "EVAL", "ZADD"]
    assert len(server.exchanges) == 3
    await redis.close()


async def test_a_server_that_forgot_its_scripts_gets_them_again() -> None:
    server = Server()
    redis = connected(server)
    await redis.send([FIRST.on("a")])
    server.known.clear()
    assert await redis.send([command("GET", "a"), FIRST.on("b")]) == [0, 0]
    assert sent(server.exchanges[-1]) == [("EVAL", 1, "b")]
    await redis.close()


async def test_a_script_that_was_refused_unseen_is_sent_again() -> None:
    """A server that began anew takes connections while it loads its data, and refuses everything."""
    server = Server()
    redis = connected(server)
    server.loading = True
    with pytest.raises(StoreDownError):
        await redis.send([FIRST.on("k"), command("SET", "done", 1)])
    server.loading = False
    assert await redis.send([FIRST.on("k"), command("SET", "done", 1)]) == [0, 1]
    assert (len(server.exchanges), len(server.links)) == (2, 1)
    await redis.close()
