"""The seven features in plain Python, straight from raw events: slow, obvious, and written from their
definitions alone. It must not know how the services compute anything."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from math import fsum, log1p

CENT = Decimal("0.01")
VIEW = "detail-page-view"
PURCHASE = "purchase-complete"
POPULARITY_WEIGHTS = {VIEW: 1, "add-to-cart": 3, PURCHASE: 5}
DEFAULT_LOW_STOCK = 5


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One event as the shop sent it. `products` has one id per line; the list's order is the sender's."""

    kind: str
    user: str
    time: datetime
    products: tuple[str, ...] = ()
    revenue: Decimal | None = None
    rating: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RawProduct:
    """What the catalogue says about a product now."""

    id: str
    category: str
    price: Decimal | None
    quantity: int
    low_stock: int = DEFAULT_LOW_STOCK
    rating_average: Decimal | None = None
    rating_count: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service must say: status is PRESENT, DEFAULT or NULL (the oracle knows no staleness)."""

    value: str | int | float | None
    status: str


NULL = Answer(None, "NULL")


def present(value: str | int | float) -> Answer:
    return Answer(value, "PRESENT")


class Oracle:
    """Answers for one history of events over one catalogue.

    `ask(feature, entity_id, now)` takes the instant of computation; events after it do not exist yet.
    """

    def __init__(self, events: Iterable[RawEvent], products: Iterable[RawProduct]) -> None:
        self._catalogue = {product.id: product for product in products}
        self._history = sorted(events, key=lambda event: event.time)
        self._of_user: dict[str, list[RawEvent]] = defaultdict(list)
        self._of_product: dict[str, list[RawEvent]] = defaultdict(list)
        for event in self._history:
            self._of_user[event.user].append(event)
            for product in set(event.products):
                self._of_product[product].append(event)
        self._most_popular: dict[datetime, float] = {}
        self._features: Mapping[str, Callable[[str, datetime], Answer]] = {
            "user_browsing_category": self._browsing_category,
            "user_purchase_count_30d": self._purchase_count,
            "user_avg_order_value": self._avg_order_value,
            "user_price_sensitivity": self._price_sensitivity,
            "product_popularity_score": self._popularity,
            "product_inventory_level": self._inventory_level,
            "product_rating": self._rating,
        }

    def ask(self, feature: str, entity_id: str, now: datetime) -> Answer:
        return self._features[feature](entity_id, now)

    def _user_window(self, user: str, now: datetime, window: timedelta, *kinds: str) -> list[RawEvent]:
        return [e for e in self._of_user[user] if e.kind in kinds and now - window < e.time <= now]

    def _browsing_category(self, user: str, now: datetime) -> Answer:
        views: dict[str, int] = defaultdict(int)
        last: dict[str, datetime] = {}
        for event in self._user_window(user, now, timedelta(minutes=60), VIEW):
            for line in event.products:
                product = self._catalogue.get(line)
                if product and product.category:
                    views[product.category] += 1
                    last[product.category] = event.time
        if not views:
            return NULL
        return present(max(views, key=lambda category: (views[category], last[category])))

    def _purchase_count(self, user: str, now: datetime) -> Answer:
        orders = len(self._user_window(user, now, timedelta(days=30), PURCHASE))
        return present(orders) if orders else Answer(0, "DEFAULT")

    def _avg_order_value(self, user: str, now: datetime) -> Answer:
        orders = self._user_window(user, now, timedelta(days=365), PURCHASE)
        revenues = [Fraction(order.revenue) for order in orders if order.revenue is not None]
        return present(half_even(sum(revenues, Fraction(0)) / len(revenues))) if revenues else NULL

    def _price_sensitivity(self, user: str, now: datetime) -> Answer:
        total = weights = Fraction(0)
        for event in self._user_window(user, now, timedelta(days=90), VIEW, PURCHASE):
            weight = 5 if event.kind == PURCHASE else 1
            for line in event.products:
                percentile = self.price_percentile(line)
                if percentile is not None:
                    total += weight * percentile
                    weights += weight
        if not weights:
            return Answer("medium", "DEFAULT")
        mean = total / weights
        if mean < Fraction(1, 3):
            return present("high")
        return present("low" if mean > Fraction(2, 3) else "medium")

    def price_percentile(self, product_id: str) -> Fraction | None:
        product = self._catalogue.get(product_id)
        if product is None or product.price is None or not product.category:
            return None
        prices = [
            other.price
            for other in self._catalogue.values()
            if other.category == product.category and other.price is not None
        ]
        cheaper = sum(price < product.price for price in prices)
        equal = sum(price == product.price for price in prices)
        return (cheaper + Fraction(equal, 2)) / len(prices)

    def _raw_popularity(self, product: str, now: datetime) -> float:
        return fsum(
            POPULARITY_WEIGHTS[event.kind] * 2 ** (-((now - event.time) / timedelta(days=1)) / 7)
            for event in self._of_product[product]
            if event.kind in POPULARITY_WEIGHTS and now - timedelta(days=30) < event.time <= now
            for line in event.products
            if line == product
        )

    def _popularity(self, product: str, now: datetime) -> Answer:
        if now not in self._most_popular:
            # list(): asking for a product without events must not grow the dict under iteration
            everyone = (self._raw_popularity(other, now) for other in list(self._of_product))
            self._most_popular[now] = max(everyone, default=0.0)
        x = self._raw_popularity(product, now)
        if not x:
            return Answer(0, "DEFAULT")
        score = 100 * log1p(x) / log1p(self._most_popular[now])
        return present(float(Decimal(score).quantize(CENT, ROUND_HALF_EVEN)))

    def _inventory_level(self, product_id: str, _: datetime) -> Answer:
        product = self._catalogue.get(product_id)
        if product is None:
            return NULL
        if product.quantity == 0:
            return present("out_of_stock")
        return present("low_stock" if product.quantity <= product.low_stock else "in_stock")

    def _rating(self, product_id: str, now: datetime) -> Answer:
        newest: dict[str, Fraction] = {}
        for event in self._of_product[product_id]:
            if event.kind == "rate" and event.rating is not None and event.time <= now:
                newest[event.user] = Fraction(event.rating)
        product = self._catalogue.get(product_id)
        count = product.rating_count if product and product.rating_average is not None else 0
        total = Fraction(product.rating_average or 0) * count if product else Fraction(0)
        if not count + len(newest):
            return NULL
        return present(half_even((total + sum(newest.values())) / (count + len(newest))))


def half_even(exact: Fraction) -> float:
    """`exact` rounded to 2 decimals, ties to the even cent."""
    return float(Decimal(round(exact * 100)) / 100)
