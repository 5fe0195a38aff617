"""Made-up shops: products and what users do with them, the same at each run."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c

CATEGORIES = ("Books", "Garden", "Kitchen", "Music", "Office", "Outdoor", "Sports", "Toys")
VIEWS, CARTS, ORDERS = 6, 2, 2
"""Of each user. Views are of the last half hour, carts and orders of the last 20 days."""
EVENTS_PER_USER = VIEWS + CARTS + ORDERS
KEPT_FEATURES = (
    "user_browsing_category",
    "user_purchase_count_30d",
    "user_avg_order_value",
    "user_price_sensitivity",
    "user_recent_views",
    "user_recent_carts",
)
"""What is read of each user before the bytes of a user are counted."""
_SEED = 11


def user_id(number: int) -> str:
    return f"user_{number:07}"


def product_id(number: int) -> str:
    return f"prod_{number:07}"


def catalogue(count: int) -> list[c.Product]:
    """All in stock, with a category, a price and ratings."""
    dice = random.Random(f"{_SEED} catalogue")
    return [
        c.Product(
            id=product_id(number),
            title=f"Product {number} of {CATEGORIES[number % len(CATEGORIES)]}",
            categories=[CATEGORIES[number % len(CATEGORIES)]],
            price=round(dice.uniform(1, 200), 2),
            currency_code="EUR",
            available_quantity=dice.randrange(1, 100),
            rating_average=round(dice.uniform(1, 5), 2),
            rating_count=dice.randrange(1, 500),
        )
        for number in range(count)
    ]


def history(users: int, products: int, now: datetime) -> list[f.Event]:
    """EVENTS_PER_USER events of each user, in a mixed order."""
    dice = random.Random(f"{_SEED} history")
    events = []
    for number in range(users):
        for place in range(EVENTS_PER_USER):
            if place < VIEWS:
                kind, past = "detail-page-view", timedelta(minutes=dice.uniform(0.1, 30))
            else:
                kind = "add-to-cart" if place < VIEWS + CARTS else "purchase-complete"
                past = timedelta(days=dice.uniform(0.1, 20))
            events.append(event(f"h{number}.{place}", kind, user_id(number), dice.randrange(products), now - past))
    dice.shuffle(events)
    return events


def event(event_id: str, kind: str, user: str, product: int, time: datetime | None = None) -> f.Event:
    """An event with one product; without a time it happens when it arrives."""
    made = f.Event(
        event_id=event_id,
        event_type=kind,
        user_id=user,
        session_id=f"s-{user}",
        product_details=[f.ProductDetail(product_id=product_id(product), quantity=1, price=10.0)],
    )
    if time is not None:
        made.event_time.FromDatetime(time)
    return made


def batches(events: Sequence[f.Event], size: int) -> list[f.WriteEventsRequest]:
    """Requests of `size` events, the last one may be smaller."""
    return [f.WriteEventsRequest(events=events[start : start + size]) for start in range(0, len(events), size)]
