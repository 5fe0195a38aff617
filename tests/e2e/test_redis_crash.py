"""Redis dies in the middle of writes and comes back empty: nothing acknowledged is lost, features return."""

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.e2e.diary import make_event
from tests.support.shop import Rest, Shop, running_shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

USERS = [f"crash_user_{number}" for number in range(8)]
PRODUCTS = [f"crash_product_{number}" for number in range(5)]
Event = Mapping[str, object]


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[Shop]:
    """An empty shop of this module's own, to break."""
    async with running_shop(demo=False) as started:
        yield started


@pytest.fixture(scope="module")
async def rest(shop: Shop) -> AsyncIterator[Rest]:
    async with Rest(shop.base_url) as client:
        yield client


class Online:
    """The shop's Redis as an operator sees it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._url = f"redis://127.0.0.1:{shop.ports['REDIS_PORT']}"

    async def kill_and_wipe(self) -> int:
        """Empties the data folder under the running server, then SIGKILLs it; returns its process id."""
        async with Redis.from_url(self._url, decode_responses=True) as client:
            pid = int((await client.info("server"))["process_id"])
            folder = Path(str((await client.config_get("dir"))["dir"]))
        assert self._shop.data_dir in folder.parents
        _wipe(folder)
        os.kill(pid, signal.SIGKILL)
        return pid

    async def is_back(self, killed: int) -> bool:
        try:
            async with Redis.from_url(self._url, decode_responses=True) as client:
                return int((await client.info("server"))["process_id"]) != killed
        except (RedisError, OSError):
            return False

    async def keys(self) -> list[str]:
        async with Redis.from_url(self._url, decode_responses=True) as client:
            return [str(key) async for key in client.scan_iter(count=1000)]


def _wipe(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.suffix in {".rdb", ".aof"}:
            entry.unlink()


class Writers:
    """Concurrent shops that post orders and remember which were acknowledged."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self.sent: list[Event] = []
        self.acknowledged: Counter[str] = Counter()
        self.calls = 0
        self.done = asyncio.Event()

    async def write(self, turn: int) -> None:
        while not self.done.is_set():
            batch = [
                make_event("purchase-complete", USERS[(turn + n) % len(USERS)], product, revenue="10.50")
                for n, product in enumerate(PRODUCTS)
            ]
            self.sent += batch
            answer = await self._rest.post("/v1/events:write", {"events": batch})
            assert answer["accepted"] == len(batch), answer
            self.acknowledged.update(str(event["userId"]) for event in batch)
            self.calls += 1
            turn += 1

    async def read(self) -> None:
        """Reads see every order acknowledged before them, with Redis, without it and while it comes back."""
        turn = 0
        while not self.done.is_set():
            turn += 1
            user = USERS[turn % len(USERS)]
            known = self.acknowledged[user]
            if not known:
                await asyncio.sleep(0.01)  # nothing to check before the first order: let the writers go on
                continue
            answer = await self._rest.get(f"/features/User/{user}?features=user_purchase_count_30d")
            count = answer["features"]["user_purchase_count_30d"]
            assert count >= known, f"{user}: {count} after {known} acknowledged orders; {answer}"

    async def after(self, calls: int) -> None:
        reached = self.calls + calls
        await eventually(lambda: self.calls >= reached, timeout=60, message=f"{calls} more acknowledged batches")


async def test_sigkill_amid_writes_loses_nothing_and_features_come_back(shop: Shop, rest: Rest) -> None:
    online, writers = Online(shop), Writers(rest)
    async with asyncio.TaskGroup() as group:
        for turn in range(4):
            group.create_task(writers.write(turn))
        group.create_task(writers.read())
        try:
            await writers.after(20)
            killed = await online.kill_and_wipe()
            await writers.after(20)
            await eventually(lambda: online.is_back(killed), timeout=30, message="Redis restarted")
            await writers.after(20)
        finally:
            writers.done.set()

    await check_everything_is_there(rest, writers)

    # And now with nobody writing or reading: the features come back by themselves.
    killed = await online.kill_and_wipe()
    await eventually(lambda: online.is_back(killed), timeout=30, message="Redis restarted")

    async def all_entities_are_online() -> bool:
        keys = await online.keys()
        missing = [entity for entity in USERS + PRODUCTS if not any(key.endswith(entity) for key in keys)]
        assert not missing, missing
        return True

    await eventually(all_entities_are_online, timeout=30, interval=0.2)
    await check_everything_is_there(rest, writers)


async def check_everything_is_there(rest: Rest, writers: Writers) -> None:
    orders = Counter(str(event["userId"]) for event in writers.sent)
    assert orders == writers.acknowledged
    for start in range(0, len(writers.sent), 500):
        batch = writers.sent[start : start + 500]
        again = await rest.post("/v1/events:write", {"events": batch})
        assert (again["accepted"], again["duplicates"]) == (0, len(batch)), again

    answer = await rest.post(
        "/v1/features/User:batchGet",
        {"ids": USERS, "features": ["user_purchase_count_30d", "user_avg_order_value"]},
    )
    columns = answer["columns"]
    assert columns["user_purchase_count_30d"]["values"] == [orders[user] for user in USERS]
    assert columns["user_avg_order_value"]["values"] == [10.5] * len(USERS)

    async def popular_again() -> bool:
        scores = await rest.post(
            "/v1/features/Product:batchGet", {"ids": PRODUCTS, "features": ["product_popularity_score"]}
        )
        column = scores["columns"]["product_popularity_score"]
        assert not scores.get("degraded"), scores
        # every batch has one line of each product: all are equally and most popular
        assert column["values"] == [100.0] * len(PRODUCTS), column
        return True

    await eventually(popular_again, timeout=20, interval=0.1)


async def test_a_wiped_redis_is_never_an_error_for_readers(shop: Shop, rest: Rest) -> None:
    await rest.post("/v1/events:write", {"events": [make_event("purchase-complete", "calm_user", "p", revenue="5.00")]})
    online = Online(shop)
    killed = await online.kill_and_wipe()
    marked = 0
    while not await online.is_back(killed):
        answer = await rest.get("/features/User/calm_user?features=user_avg_order_value")
        assert answer["features"] == {"user_avg_order_value": 5.0}
        assert answer.get("degraded", []) in ([], ["online-store"])
        marked += "degraded" in answer

    async def whole() -> bool:
        return "degraded" not in await rest.get("/features/User/calm_user?features=user_avg_order_value")

    await eventually(whole, timeout=20)
    assert marked, "no answer admitted that the online store was down"
