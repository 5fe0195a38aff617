"""Draws what a user does in the shop, visit by visit."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from windowshop_client.demo.catalogue import Catalogue
from windowshop_client.demo.model import DemoEvent, DemoLine
from windowshop_client.demo.people import Interest, Person

DAYS = 56
"""Eight weeks."""

FAMOUS_ORDER_DAYS = (3, 11, 20)
"""Days ago on which the users that the documents name bought something."""


@dataclass(frozen=True, slots=True)
class _Act:
    """An event before it has a time."""

    event_type: str
    lines: tuple[DemoLine, ...] = ()
    revenue: float | None = None
    position: int | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Visit:
    """A visit to draw: when, and whether it must end in an order."""

    days_ago: int
    must_buy: bool = False
    live: bool = False


class SessionWriter:
    """Turns a person into events. What happens depends on the generator alone; `now` only says when."""

    def __init__(self, rng: np.random.Generator, catalogue: Catalogue, now: datetime, prefix: str) -> None:
        self._rng = rng
        self._catalogue = catalogue
        self._now = now
        self._midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._prefix = prefix
        self._written = 0

    def write(self, person: Person) -> Iterator[DemoEvent]:
        """The events of all visits of a person, and the ratings that follow orders."""
        # The newest visit of a famous user is the live one, whatever the time of day: that is what "now" can be
        # told from, so their habitual visits begin yesterday.
        days = self._rng.integers(1 if person.famous else 0, DAYS, person.sessions)
        visits = [_Visit(int(day)) for day in days]
        if person.famous:
            visits += [_Visit(day, must_buy=True) for day in FAMOUS_ORDER_DAYS]
        if person.live:
            visits.append(_Visit(0, live=True))
        for number, visit in enumerate(visits):
            acts = self._acts(person, visit)
            times = self._times(person, visit, len(acts))
            session = f"{person.id}-s{number:02d}"
            device = person.device if self._rng.random() < 0.85 else "mobile"
            for act, time in zip(acts, times, strict=True):
                yield self._event(act, person.id, session, device, time)
                if act.event_type == "purchase-complete" and not visit.live:
                    yield from self._ratings(act, person.id, session, device, time)

    def _acts(self, person: Person, visit: _Visit) -> list[_Act]:
        rng = self._rng
        interest = person.interests[
            0 if visit.live and person.famous else int(rng.choice(len(person.interests), p=person.weights))
        ]
        acts = self._arrival(interest)
        cart: list[int] = []
        views = 1 + int(rng.geometric(0.28))
        if visit.live or visit.must_buy:
            views = max(views, 4)
        for _ in range(views):
            wandering = rng.random() < 0.08 and not visit.live
            product = self._anything() if wandering else self._choose(interest, recent=visit.days_ago < 7)
            acts.append(_Act("detail-page-view", (DemoLine(self._id(product)),)))
            if product not in cart and rng.random() < (0.05 if wandering else 0.26):
                cart.append(product)
                acts.append(_Act("add-to-cart", (DemoLine(self._id(product), 1, self._price(product)),)))
        if visit.must_buy and not cart:
            cart.append(product)
            acts.append(_Act("add-to-cart", (DemoLine(self._id(product), 1, self._price(product)),)))
        if len(cart) > 1 and rng.random() < 0.15:
            acts.append(_Act("remove-from-cart", (DemoLine(self._id(cart.pop(0)), 1),)))
        if cart and (visit.must_buy or rng.random() < person.decisiveness):
            acts.append(self._order(cart))
        return acts

    def _arrival(self, interest: Interest) -> list[_Act]:
        """How a visit begins: home page, then a category, a search or a list of offers."""
        rng = self._rng
        leaf = self._catalogue.leaves[interest.leaf]
        acts = [_Act("home-page-view")] if rng.random() < 0.6 else []
        way = rng.random()
        if way < 0.4:
            acts.append(_Act("category-page-view", attributes={"category": leaf.path}))
        elif way < 0.75:
            words = leaf.kinds[int(rng.integers(len(leaf.kinds)))] if rng.random() < 0.6 else leaf.name
            acts.append(_Act("search", attributes={"query": words.lower()}))
        elif way < 0.85:
            shown = [self._anything() for _ in range(3)]
            acts += [_Act("impression", (DemoLine(self._id(p)),), position=i) for i, p in enumerate(shown)]
            if rng.random() < 0.3:
                acts.append(_Act("click", (DemoLine(self._id(shown[0])),), position=0))
        return acts

    def _order(self, cart: list[int]) -> _Act:
        lines = []
        for product in cart:
            consumable = self._catalogue.leaves[int(self._catalogue.leaf_of[product])].consumable
            quantity = int(self._rng.integers(1, 4)) if consumable else 1 + int(self._rng.random() < 0.05)
            lines.append(DemoLine(self._id(product), quantity, self._price(product)))
        cents = sum(round((line.price or 0.0) * 100) * (line.quantity or 1) for line in lines)
        return _Act("purchase-complete", tuple(lines), revenue=cents / 100)

    def _ratings(self, order: _Act, user: str, session: str, device: str, bought: datetime) -> Iterator[DemoEvent]:
        """A quarter of what was bought is rated within the next days."""
        for line in order.lines:
            wanted, days = self._rng.random() < 0.25, float(self._rng.uniform(1, 10))
            quality = self._catalogue.quality[int(line.product_id.removeprefix("prod_")) - 1]
            stars = float(np.clip(round(float(self._rng.normal(quality, 0.8))), 1, 5))
            if wanted:
                wait = min(timedelta(days=days), 0.9 * (self._now - bought))
                time = (bought + wait).replace(microsecond=0)
                act = _Act("rate", (DemoLine(line.product_id),))
                yield self._event(act, user, session, device, time, rating=stars)

    def _times(self, person: Person, visit: _Visit, count: int) -> list[datetime]:
        """Instants of a visit's events: apart by seconds, in order, never after now.

        A visit that habit puts later today than now is taken to have happened eight weeks ago.
        """
        gaps = np.cumsum(self._rng.integers(8, 90, count))
        duration = timedelta(seconds=int(gaps[-1]))
        hour = float(self._rng.normal(*person.hour)) % 24
        lead = timedelta(seconds=int(self._rng.integers(20, 1_800)))
        start = self._midnight - timedelta(days=visit.days_ago) + timedelta(seconds=int(hour * 3600))
        if visit.live:
            start = self._now - lead - duration
        elif start + duration > self._now:
            start -= timedelta(days=DAYS)
        return [start + timedelta(seconds=int(gap)) for gap in gaps]

    def _event(
        self, act: _Act, user: str, session: str, device: str, time: datetime, rating: float | None = None
    ) -> DemoEvent:
        self._written += 1
        return DemoEvent(
            event_id=f"{self._prefix}-{self._written:04d}",
            event_type=act.event_type,
            user_id=user,
            session_id=session,
            event_time=time,
            device=device,
            lines=act.lines,
            revenue=act.revenue,
            rating=rating,
            position=act.position,
            attributes=act.attributes,
        )

    def _choose(self, interest: Interest, *, recent: bool) -> int:
        if interest.staples and self._rng.random() < 0.45:
            return interest.staples[int(self._rng.integers(len(interest.staples)))]
        liking = interest.liking_now if recent else interest.liking
        return interest.members[int(self._rng.choice(len(interest.members), p=liking))]

    def _anything(self) -> int:
        appeal = self._catalogue.appeal
        return int(np.searchsorted(np.cumsum(appeal), self._rng.random() * appeal.sum()))

    def _id(self, product: int) -> str:
        return self._catalogue.products[product].id

    def _price(self, product: int) -> float:
        return self._catalogue.products[product].price
