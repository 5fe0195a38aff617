"""Events written by tests, remembered with the instant of their acknowledgement."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.support.oracle import RawEvent
from tests.support.shop import Rest

_numbers = itertools.count(1)


def make_event(
    kind: str,
    user: str,
    *products: str,
    time: datetime | None = None,
    revenue: str | None = None,
    rating: str | None = None,
) -> dict[str, object]:
    """An event as the REST door takes it, with a fresh id; amounts as text, to stay exact."""
    event: dict[str, object] = {
        "eventId": f"e2e-{next(_numbers)}",
        "eventType": kind,
        "userId": user,
        "eventTime": (time or datetime.now(UTC)).isoformat(timespec="milliseconds"),
        "productDetails": [{"productId": product} for product in products],
    }
    if revenue is not None:
        event["revenue"] = float(revenue)
    if rating is not None:
        event["rating"] = float(rating)
    return event


class Diary:
    """Writes events through the REST door of the demo shop."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._written: list[tuple[datetime, datetime, RawEvent]] = []

    async def write(self, *events: Mapping[str, object], rejected: int = 0) -> dict[str, Any]:
        """Writes new events, the first `rejected` of which are bad; from the return on every read must know them."""
        sent = datetime.now(UTC)
        answer: dict[str, Any] = await self._rest.post("/v1/events:write", {"events": events})
        assert answer["accepted"] == len(events) - rejected, answer
        acknowledged = datetime.now(UTC)
        self._written += [(sent, acknowledged, raw_event(event)) for event in events[rejected:]]
        return answer

    def acknowledged_by(self, instant: datetime) -> list[RawEvent]:
        """The events that a value of this instant must know."""
        return [event for _, acknowledged, event in self._written if acknowledged <= instant]

    def sent_by(self, instant: datetime) -> list[RawEvent]:
        """The events that a value of this instant may know."""
        return [event for sent, _, event in self._written if sent <= instant]


def raw_event(event: Mapping[str, object]) -> RawEvent:
    """An event of the REST door as the oracle reads it."""
    lines = event.get("productDetails", [])
    assert isinstance(lines, list)
    return RawEvent(
        kind=str(event["eventType"]),
        # "~" is in no id: a guest is no user, whatever the visitor id.
        user=str(event["userId"]) if "userId" in event else f"~{event['visitorId']}",
        time=datetime.fromisoformat(str(event["eventTime"])),
        products=tuple(line["productId"] for line in lines),
        revenue=Decimal(str(event["revenue"])) if "revenue" in event else None,
        rating=Decimal(str(event["rating"])) if "rating" in event else None,
    )
