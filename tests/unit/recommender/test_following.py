"""The catalogue's changes as they are followed for what is kept in memory."""

from __future__ import annotations

import asyncio

from services.recommender.domain.change import ProductChange, Stored
from services.recommender.domain.product import Product
from services.recommender.pipeline.following import Follower, Followers, follow_catalogue
from services.runtime.errors import unavailable
from tests.support.waiting import eventually


class Log:
    """Changes in a list; the catalogue may be replaced."""

    def __init__(self) -> None:
        self.epoch = "first"
        self.log: list[ProductChange] = []
        self.moved = asyncio.Event()
        self.away = False

    def change(self, *numbers: int) -> None:
        self.log += [ProductChange(number, f"p{number}", deleted=False) for number in numbers]
        self._move()

    def replace(self, epoch: str, head: int) -> None:
        """The connections break with it."""
        self.epoch, self.away = epoch, True
        self.log = []
        self.change(*range(1, head + 1))

    def _move(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()

    async def position(self) -> tuple[str, int]:
        return self.epoch, self.log[-1].change_seq if self.log else 0

    async def changes(self, after: int, limit: int) -> list[ProductChange]:
        return [change for change in self.log if change.change_seq > after][:limit]

    async def wait_past(self, change_seq: int, seconds: float) -> bool:
        while not await self.changes(change_seq, 1):
            moved = self.moved
            await moved.wait()
            if self.away:
                self.away = False
                raise unavailable("DOWN", "it is down")
        return True


class Diary(Follower):
    """Writes down what it is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def changed(self, product: Product, stored: Stored | None = None) -> None:
        self.told.append(f"changed {product.id}")

    def counted(self, product_id: str, quantity: int) -> None:
        self.told.append(product_id if quantity == 0 else f"{quantity} {product_id}")

    def deleted(self, product_id: str) -> None:
        self.told.append(f"deleted {product_id}")

    def reached(self, change_seq: int) -> None:
        self.told.append(f"until {change_seq}")

    def restarted(self) -> None:
        self.told.append("begun")


def test_everybody_is_told_everything_in_order() -> None:
    told: list[str] = []
    followers = Followers([Diary(told), Follower(), Diary(told)])
    followers.changed(Product("a", "A"))
    followers.counted("b", 2)
    followers.followed(ProductChange(1, "c", deleted=False, available_quantity=3))
    followers.deleted("d")
    followers.reached(1)
    followers.restarted()
    assert told == [text for text in ("changed a", "2 b", "3 c", "deleted d", "until 1", "begun") for _ in range(2)]


async def test_each_change_is_told_and_another_catalogue_begins_anew() -> None:
    log = Log()
    log.change(1, 2, 3)
    told: list[str] = []
    following = asyncio.create_task(follow_catalogue(log, Diary(told)))
    try:
        await eventually(lambda: told == ["begun", "until 3"])
        log.change(4, 5)
        await eventually(lambda: told[2:] == ["p4", "p5", "until 5"])
        # The store was away for a moment: it goes on.
        log.away = True
        log.change(6)
        await eventually(lambda: told[5:] == ["p6", "until 6"])
        log.replace("second", head=9)
        await eventually(lambda: told[7:] == ["begun", "until 9"])
        log.change(10)
        await eventually(lambda: told[9:] == ["p10", "until 10"])
        # A restored backup has the same name.
        log.replace("second", head=2)
        await eventually(lambda: told[11:] == ["begun", "until 2"])
        log.change(3)
        log.log.append(ProductChange(4, "p4", deleted=True))
        await eventually(lambda: told[13:] == ["p3", "deleted p4", "until 4"])
    finally:
        following.cancel()
        await asyncio.wait({following})
