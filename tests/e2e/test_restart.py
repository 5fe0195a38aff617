"""Stopping leaves no process; starting again finds the data; a part that dies comes back."""

import os
import signal

import aiohttp
import pytest

from tests.e2e.conftest import Imported
from tests.support.shop import Rest, Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

READ = {
    "ids": ["1", "2", "3"],
    "features": ["user_purchase_count_30d", "user_avg_order_value", "user_price_sensitivity"],
}


async def values(shop: Shop) -> list[object]:
    async with Rest(shop.base_url) as rest:
        columns = (await rest.post("/v1/features/User:batchGet", READ))["columns"]
    return [columns[name]["values"] for name in READ["features"]]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_stop_leaves_no_process_and_the_next_start_finds_the_data(
    imported: Imported, how: signal.Signals
) -> None:
    shop = imported.shop
    before = await values(shop)
    assert len(shop.processes()) >= 7, "supervisor, two stores, four services"
    try:
        code = await shop.stop(how)

        assert code == 0, shop.output
        assert shop.processes() == {}
    finally:
        # the promise for a second start
        await shop.start(timeout=20)

    assert await values(shop) == before


@pytest.mark.parametrize("module", ["services.features worker", "services.recommender", "services.features", "gateway"])
async def test_a_part_that_dies_is_started_again(imported: Imported, module: str) -> None:
    shop = imported.shop
    command = f"-m {module}"
    (victim,) = [pid for pid, line in shop.processes().items() if line.endswith(command)]
    before = await values(shop)
    os.kill(victim, signal.SIGKILL)

    def replaced() -> bool:
        return any(line.endswith(command) and pid != victim for pid, line in shop.processes().items())

    await eventually(replaced, timeout=20, message=f"a new {module}")

    async def answering() -> bool:
        try:
            async with Rest(shop.base_url) as rest:
                return (await rest.send("GET", "/features/User/1")).status == 200
        except aiohttp.ClientError:  # the gateway itself may be the one that is away
            return False

    await eventually(answering, timeout=20)
    assert await values(shop) == before


async def test_sigkill_of_the_supervisor_leaves_no_process(imported: Imported) -> None:
    shop = imported.shop
    try:
        await shop.stop(signal.SIGKILL)
        await eventually(lambda: not shop.processes(), timeout=20, message="every process gone")
    finally:
        await shop.start(timeout=60)
