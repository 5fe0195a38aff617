"""One StreamProductSignals call: pages of what is there, then each change, heartbeats between."""

from __future__ import annotations

from collections.abc import AsyncIterator

from prometheus_client import Gauge
from windowshop.recommender.v1 import catalog_pb2

from services.recommender.domain.change import Cursor, ProductChange
from services.recommender.ports import ChangeLog
from services.runtime.errors import invalid_field

FOLLOWERS = Gauge(
    "windowshop_signal_followers",
    "Streams that follow the catalogue; 0 for long means features no longer learn of prices and stock.",
)

PAGE = 1_000
# The contract says 10; half of it leaves room for a busy moment.
HEARTBEAT_SECONDS = 5.0


async def follow(log: ChangeLog, asked: str) -> AsyncIterator[catalog_pb2.StreamProductSignalsResponse]:
    """Every change after the cursor ``asked``, without end; the whole catalogue when it does not continue this one.

    Each message is read only when the one before is on its way, so a slow receiver holds up itself alone.
    Raises INVALID_ARGUMENT for a text that is no cursor, UNAVAILABLE when the store goes away.
    """
    cursor = Cursor.decode(asked) if asked else None
    if asked and cursor is None:
        raise invalid_field("cursor", "must be a cursor of this stream", reason="INVALID_CURSOR")
    epoch, head = await log.position()
    restart = cursor is None or not cursor.continues(epoch, head)
    after = 0 if cursor is None or restart else cursor.change_seq
    with FOLLOWERS.track_inprogress():
        while True:
            changes = await log.changes(after, PAGE)
            after = changes[-1].change_seq if changes else after
            full = len(changes) == PAGE
            yield catalog_pb2.StreamProductSignalsResponse(
                signals=[_signal(change) for change in changes],
                cursor=Cursor(epoch, after).encode(),
                restart=restart,
                caught_up=not full,
            )
            restart = False
            if not full:
                await log.wait_past(after, HEARTBEAT_SECONDS)


def _signal(change: ProductChange) -> catalog_pb2.ProductSignal:
    if change.deleted:
        return catalog_pb2.ProductSignal(product_id=change.product_id, deleted=True)
    return catalog_pb2.ProductSignal(
        product_id=change.product_id,
        top_category=change.top_category,
        price=change.price,
        available_quantity=change.available_quantity,
        low_stock_threshold=change.low_stock_threshold,
        rating_average=change.rating_average,
        rating_count=change.rating_count,
        brand=change.brand,
    )
