"""The traffic of a shop: who comes when, having looked at what. The same for every driver.

Users come by Zipf. A fifth of them have just viewed something of their taste: a front end tells of it in batches of
what happened in a moment, before they ask for recommendations.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from bench.synthetic import World, product_id, product_number, user_id

PAGE = 10
BLOCK = 50
"""Recommendations between two batches of views: those of one block are written when the block before begins."""
VIEWED = 0.2
"""Of those who ask, how many have just viewed something."""
EXPLAINED = 200
"""Each of so many answers says how it came about."""


@dataclass(frozen=True, slots=True)
class Block:
    """Views to be written, and who asks after the next block's were: user numbers."""

    views: tuple[tuple[int, int], ...]
    """Of the next block: user, product."""
    users: tuple[int, ...]
    viewed: tuple[bool, ...]
    """Which of them have just viewed something."""


def blocks(world: World, seed: str) -> Iterator[Block]:
    """For ever."""
    dice = np.random.default_rng([*seed.encode()])

    def draw() -> tuple[np.ndarray, np.ndarray]:
        return world.visitors(BLOCK, dice), dice.permutation(BLOCK) < BLOCK * VIEWED

    users, viewed = draw()
    while True:
        next_users, next_viewed = draw()
        who = next_users[next_viewed]
        views = zip(who.tolist(), world.choose(who, dice).tolist(), strict=True)
        yield Block(tuple(views), tuple(users.tolist()), tuple(viewed.tolist()))
        users, viewed = next_users, next_viewed


def path(user: int, *, explain: bool = False) -> str:
    """Of a page of recommendations."""
    return f"/v1/users/{user_id(user)}/recommendations?pageSize={PAGE}" + ("&explain=true" if explain else "")


WRITE = "/v1/events:write"


def body(block: Block, name: str) -> bytes:
    """The views of a block as events that happen when they arrive; ids begin with `name`."""
    events = [
        {
            "eventId": f"{name}.{place}",
            "eventType": "detail-page-view",
            "userId": user_id(user),
            "sessionId": f"s-{user_id(user)}",
            "productDetails": [{"productId": product_id(product)}],
        }
        for place, (user, product) in enumerate(block.views)
    ]
    return json.dumps({"events": events}).encode()


class _Product(msgspec.Struct, rename="camel"):
    available_quantity: int = 0


class _Contribution(msgspec.Struct):
    column: str


class _Explanation(msgspec.Struct):
    contributions: list[_Contribution] = []


class _Result(msgspec.Struct):
    id: str
    product: _Product
    reasons: list[str]
    explanation: _Explanation = msgspec.field(default_factory=_Explanation)


class Page(msgspec.Struct):
    """What is read of an answer."""

    results: list[_Result]
    degraded: list[str] = []


_DECODER = msgspec.json.Decoder(Page)


class Judge:
    """Says what is wrong with an answer. `world.stock` must be what the shop has, and with `ranked` the version that
    serves a trained ranker; without, it may order by reciprocal ranks as well, where these were better."""

    def __init__(self, world: World, *, ranked: bool = True) -> None:
        self._sold_out = (world.stock == 0).tolist()
        self._ranked = ranked

    def read(self, status: int, content: bytes, *, explained: bool = False) -> tuple[str, bool]:
        """What is wrong, or nothing, and whether something was missing while answering."""
        if status != 200:
            return f"status {status}", False
        try:
            page = _DECODER.decode(content)
        except msgspec.MsgspecError as error:
            return f"unexpected answer: {error}", False
        return self._problem(page, explained), bool(page.degraded)

    def _problem(self, page: Page, explained: bool) -> str:
        if len(page.results) != PAGE:
            return f"{len(page.results)} results"
        if len({one.id for one in page.results}) != PAGE:
            return "a product twice"
        for one in page.results:
            number = product_number(one.id)
            if not 0 <= number < len(self._sold_out):
                return "a product of another shop"
            if self._sold_out[number] or one.product.available_quantity <= 0:
                return "a product that is sold out"
            if not one.reasons:
                return "a product without a reason"
        if not explained or page.degraded:
            return ""
        columns = {part.column for one in page.results for part in one.explanation.contributions}
        if self._ranked and "intercept" not in columns:
            return "not ordered by the trained ranker"
        return "" if columns else "an order that is not explained"
