"""The ways in which FEATURES_REDIS_URL can name a server, each by what ends up where."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis

from deploy.local.valkey import Valkey
from services.features.ports import StoreDownError
from services.features.stores import redis_cluster
from tests.support.stack import free_port


async def test_password_user_database_and_socket(tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    options = ["--unixsocket", str(socket)]
    server = Valkey(tmp_path / "data", free_port(), log=tmp_path / "log", options=options)
    await server.start()
    try:
        async with Redis.from_url(server.url) as redis:
            await redis.config_set("requirepass", "secret")
        where = f"127.0.0.1:{server.port}"
        for number, url in enumerate(
            (f"redis://:secret@{where}", f"redis://default:secret@{where}/3", f"unix://:secret@{socket}?db=5")
        ):
            async with redis_cluster.connect(url, 5.0) as store:
                await store.execute("SET", "key", number)
            async with Redis.from_url(url) as redis:
                assert await redis.get("key") == b"%d" % number
        for url in (f"redis://{where}", f"redis://:wrong@{where}", f"redis://:secret@{where}/99"):
            async with redis_cluster.connect(url, 5.0) as store:
                with pytest.raises(StoreDownError):
                    await store.execute("GET", "key")
    finally:
        await server.stop()
