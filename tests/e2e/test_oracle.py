"""All seven features of 200 users and 200 products, as served, against plain Python over the raw events."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.diary import Diary, make_event
from tests.e2e.history import find_demo, raw_events, raw_products
from tests.support.oracle import Answer, Oracle, RawEvent, RawProduct
from tests.support.shop import Rest, Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

USER_FEATURES = (
    "user_browsing_category",
    "user_purchase_count_30d",
    "user_avg_order_value",
    "user_price_sensitivity",
)
PRODUCT_FEATURES = ("product_popularity_score", "product_inventory_level", "product_rating")


class Truth:
    """The oracle over the demo's raw events and over what tests added, at any instant."""

    def __init__(self, events: list[RawEvent], products: list[RawProduct], diary: Diary) -> None:
        self._events = events
        self._products = products
        self._diary = diary
        self._oracles: dict[int, Oracle] = {}

    def possible(self, feature: str, entity_id: str, instant: datetime) -> list[Answer]:
        """The right answer of an instant; two when a write was on its way at that very moment."""
        known = (self._diary.acknowledged_by(instant), self._diary.sent_by(instant))
        return [self._oracle(events).ask(feature, entity_id, instant) for events in known]

    def final(self, feature: str, entity_id: str, instant: datetime) -> list[Answer]:
        """The right answer when everything written until now was known."""
        return [self._oracle(self._diary.sent_by(datetime.now(UTC))).ask(feature, entity_id, instant)]

    def _oracle(self, added: list[RawEvent]) -> Oracle:
        # the diary only grows, so the number of events says which
        if len(added) not in self._oracles:
            self._oracles[len(added)] = Oracle(self._events + added, self._products)
        return self._oracles[len(added)]


Ask = Callable[[str, str, datetime], list[Answer]]


@pytest.fixture(scope="module")
async def truth(shop: Shop, diary: Diary) -> Truth:
    demo = await find_demo(shop.features_address)
    return Truth(raw_events(demo), raw_products(demo), diary)


async def compare(rest: Rest, ask: Ask, entity: str, ids: Sequence[str], features: Sequence[str]) -> list[str]:
    """What is served differently from the truth at the value's own computedAt; checks statuses too."""
    answer = await rest.post(f"/v1/features/{entity}:batchGet", {"ids": ids, "features": features})
    assert not answer.get("degraded"), answer["degraded"]
    wrong = []
    for feature in features:
        column = answer["columns"][feature]
        for entity_id, value, status, computed in zip(
            ids, column["values"], column["statuses"], column["computedAt"], strict=True
        ):
            expected = ask(feature, entity_id, datetime.fromisoformat(computed))
            served = Answer(value, "PRESENT" if status == "STALE" else status)
            if served not in expected:
                wrong.append(f"{entity_id}.{feature} at {computed}: served {value} {status}, truth {expected}")
    return wrong


def chosen(kind: str, of: int, width: int, *always: str) -> list[str]:
    dice = random.Random(2026)
    names = [f"{kind}_{number:0{width}}" for number in dice.sample(range(1, of + 1), 200)]
    return [*always, *(name for name in names if name not in always)][:200]


async def test_served_user_features_equal_the_oracle(rest: Rest, truth: Truth) -> None:
    users = chosen("user", 500, 3, "user_001", "user_002")

    wrong = await compare(rest, truth.possible, "User", users, USER_FEATURES)

    assert not wrong, f"{len(wrong)} wrong, as\n" + "\n".join(wrong[:10])


async def test_served_product_features_equal_the_oracle(rest: Rest, truth: Truth, catalogue: dict[str, object]) -> None:
    products = random.Random(2026).sample(sorted(catalogue), 199)
    products = ["prod_100", *(product for product in products if product != "prod_100")]

    wrong = await compare(rest, truth.possible, "Product", products, PRODUCT_FEATURES)

    assert not wrong, f"{len(wrong)} wrong, as\n" + "\n".join(wrong[:10])


async def test_the_sample_covers_every_kind_of_answer(rest: Rest, catalogue: dict[str, object]) -> None:
    """A comparison of defaults with defaults would prove nothing."""
    users = chosen("user", 500, 3, "user_001", "user_002")
    answer = await rest.post("/v1/features/User:batchGet", {"ids": users, "features": USER_FEATURES})
    columns = answer["columns"]

    assert set(columns["user_price_sensitivity"]["values"]) == {"low", "medium", "high"}
    assert len(set(columns["user_browsing_category"]["values"])) >= 5
    assert len(set(columns["user_purchase_count_30d"]["values"])) >= 5
    values = columns["user_avg_order_value"]["values"]
    assert sum(value is not None for value in values) >= 100
    answer = await rest.post(
        "/v1/features/Product:batchGet", {"ids": sorted(catalogue)[:1000], "features": PRODUCT_FEATURES}
    )
    levels = Counter(answer["columns"]["product_inventory_level"]["values"])
    assert set(levels) == {"in_stock", "low_stock", "out_of_stock"}
    assert len(set(answer["columns"]["product_popularity_score"]["values"])) >= 100


async def test_after_a_storm_of_odd_events_served_values_still_equal_the_oracle(
    rest: Rest, truth: Truth, diary: Diary, catalogue: dict[str, object]
) -> None:
    """Late events, window edges, ties, half cents, repeated ratings and lines, over demo and new users."""
    dice = random.Random(7)
    users = [f"user_{number}" for number in range(300, 330)] + [f"storm_{number}" for number in range(20)]
    products = dice.sample(sorted(catalogue), 40)
    days = (0, 0, 0, 1, 7, 29.999, 30.001, 89.999, 90.001, 364.999, 365.001, 400)
    for _ in range(12):
        now = datetime.now(UTC)
        batch = []
        for number in range(50):
            time = now - timedelta(days=dice.choice(days), seconds=dice.choice((0, 0, 1, 1800, 3598, 3602)))
            kind = dice.choice(("detail-page-view", "add-to-cart", "purchase-complete", "rate", "rate", "click"))
            lines = dice.choices(products, k=dice.choice((1, 1, 2, 3)) if kind == "purchase-complete" else 1)
            batch.append(
                make_event(
                    kind,
                    dice.choice(users),
                    *lines,
                    # no two at the same instant: the definitions leave such ties open
                    time=time - timedelta(milliseconds=number),
                    revenue=f"{dice.randrange(20_000) / 100:.2f}" if kind == "purchase-complete" else None,
                    rating=dice.choice(("1", "2.5", "4", "5")) if kind == "rate" else None,
                )
            )
        await diary.write(*batch)
    # one order of everything, so that each product is computed once more, with the storm behind it
    await diary.write(make_event("purchase-complete", "storm_0", *products, revenue="100.00"))

    wrong = await compare(rest, truth.final, "User", users, USER_FEATURES)
    assert not wrong, f"{len(wrong)} wrong, as\n" + "\n".join(wrong[:10])

    async def all_right() -> bool:
        """Products are recomputed by the worker, in its own time."""
        wrong = await compare(rest, truth.final, "Product", products, PRODUCT_FEATURES)
        assert not wrong, f"{len(wrong)} wrong, as\n" + "\n".join(wrong[:10])
        return True

    await eventually(all_right, timeout=15, interval=0.5)
