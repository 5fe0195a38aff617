"""A shop with two recommenders: both are asked, each for its own people, and one may die."""

import asyncio
import os
import signal
from collections.abc import Mapping

import aiohttp
import pytest

from tests.support.shop import Rest, Shop, running_shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

PEOPLE = 40
PRODUCTS = [
    {"id": f"p{number:02}", "title": f"Thing {number}", "categories": ["Things"], "availableQuantity": 9}
    for number in range(30)
]


async def answered(shop: Shop) -> list[float]:
    """Pages by each recommender that answers, since it started."""
    counts = []
    async with aiohttp.ClientSession() as session:
        for number in range(2):
            url = f"http://127.0.0.1:{shop.ports['RECOMMENDER_OPS_PORT'] + number}/metrics"
            async with session.get(url) as answer:
                lines = (await answer.text()).splitlines()
            told = [line for line in lines if line.startswith("windowshop_recommendations_total{")]
            counts.append(sum(float(line.rpartition(" ")[2]) for line in told))
    return counts


async def pages(rest: Rest) -> bool:
    """A full one for everybody."""
    replies = await asyncio.gather(*(rest.get(f"/v1/users/u{person}/recommendations") for person in range(PEOPLE)))
    assert all(len(reply["results"]) == 10 for reply in replies)
    return True


def recommenders(shop: Shop) -> Mapping[int, str]:
    return {pid: command for pid, command in shop.processes().items() if "services.recommender" in command}


async def test_both_answer_and_one_is_enough() -> None:
    async with running_shop(demo=False, WINDOWSHOP_RECOMMENDERS="2") as shop, Rest(shop.base_url) as rest:
        assert len(recommenders(shop)) == 2
        for product in PRODUCTS:
            reply = await rest.send("PATCH", f"/v1/products/{product['id']}?allowMissing=true", product)
            assert reply.status == 200, reply.text  # from the first moment on
        # What one of them was told, the other knows within a second.
        await eventually(lambda: pages(rest), timeout=10)

        async def everybody_has_their_own() -> bool:
            """Streams to both are open."""
            before = await answered(shop)
            await pages(rest)
            first, second = (now - then for now, then in zip(await answered(shop), before, strict=True))
            assert first + second == PEOPLE
            return min(first, second) >= PEOPLE / 8

        await eventually(everybody_has_their_own, timeout=30)
        # What one of them was told holds for both: the store of record says what may be shown.
        sold_out = [product["id"] for product in PRODUCTS[:15]]
        for id_ in sold_out:
            await rest.post(f"/v1/products/{id_}:setInventory", {"availableQuantity": 0})
        for person in range(PEOPLE):
            results = (await rest.get(f"/v1/users/u{person}/recommendations"))["results"]
            assert not {result["id"] for result in results} & set(sold_out)
        os.kill(min(recommenders(shop)), signal.SIGKILL)
        for _ in range(5):
            await pages(rest)
