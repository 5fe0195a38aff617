"""Shoppers who buy without a pause and look after each order whether every server knows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import grpc
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.runtime.client import channel
from tests.support.oracle import PURCHASE, VIEW, RawEvent
from tests.support.shop import Rest

ORDERS = "user_purchase_count_30d"
# Seconds; of a machine that is busy with other things too.
_TIMEOUT = 10.0
# Seconds between two turns of a shopper: servers that start need the processors as well.
_PAUSE = 0.02


class Servers:
    """Each server by itself, as far as it is not about to leave."""

    def __init__(self, channels: Sequence[grpc.aio.Channel]) -> None:
        self._stubs = [rpc.FeatureServiceStub(one) for one in channels]
        self._asked = [0] * len(channels)
        self._present = set(range(len(channels)))
        self._quiet = asyncio.Condition()

    async def read(self, request: pb.GetFeaturesRequest) -> list[pb.GetFeaturesResponse]:
        """The answer of each that is present."""
        return await asyncio.gather(*(self._read(place, request) for place in sorted(self._present)))

    async def _read(self, place: int, request: pb.GetFeaturesRequest) -> pb.GetFeaturesResponse:
        self._asked[place] += 1
        try:
            return await self._stubs[place].GetFeatures(request, timeout=_TIMEOUT, wait_for_ready=True)
        finally:
            self._asked[place] -= 1
            async with self._quiet:
                self._quiet.notify_all()

    async def batch(self, request: pb.BatchGetFeaturesRequest) -> list[pb.BatchGetFeaturesResponse]:
        """The answer of each."""
        calls = (stub.BatchGetFeatures(request, timeout=_TIMEOUT, wait_for_ready=True) for stub in self._stubs)
        return list(await asyncio.gather(*calls))

    @asynccontextmanager
    async def without(self, place: int) -> AsyncIterator[None]:
        """Nobody asks this one by name for the block. Who names them all may still reach it."""
        self._present.discard(place)
        async with self._quiet:
            await self._quiet.wait_for(lambda: not self._asked[place])
        yield
        self._present.add(place)


class Shopper:
    """One user: orders and views, each acknowledged, each looked for; a call that fails, or misses one, raises."""

    def __init__(self, number: int, products: Sequence[str]) -> None:
        self.user = f"shopper_{number}"
        self.orders = 0
        self.events: list[RawEvent] = []
        self._products = products
        self._goes_on = True

    def leave(self) -> None:
        """After the turn under way: of a call that is cancelled nobody knows whether it was stored."""
        self._goes_on = False

    def next_events(self) -> list[RawEvent]:
        """A view and an order of one product, just now; remembered."""
        self.orders += 1
        product = self._products[self.orders % len(self._products)]
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1_000 * 1_000)
        new = [
            RawEvent(VIEW, self.user, now, (product,)),
            RawEvent(PURCHASE, self.user, now, (product,), Decimal(self.orders % 7) + Decimal("0.45")),
        ]
        self.events += new
        return new

    async def by_rest(self, rest: Rest, servers: Servers) -> None:
        """Until told to leave."""
        while self._goes_on:
            new = self.next_events()
            body = {"events": [self._json(event) for event in new]}
            answer = await rest.post("/v1/events:write", body)
            assert answer["accepted"] + answer["duplicates"] == len(new), answer
            seen = await rest.get(f"/features/User/{self.user}?features={ORDERS}")
            assert seen["features"][ORDERS] == self.orders, (seen, self.orders)
            await self._look(servers)

    async def by_grpc(self, address: str, servers: Servers) -> None:
        """Until told to leave, through a channel to all servers."""
        async with channel(address) as connection:
            stub = rpc.FeatureServiceStub(connection)
            while self._goes_on:
                new = [message(event, self._id(event)) for event in self.next_events()]
                written = await stub.WriteEvents(pb.WriteEventsRequest(events=new), timeout=_TIMEOUT)
                assert written.accepted + written.duplicates == len(new), written
                answer = await stub.GetFeatures(self._question(), timeout=_TIMEOUT)
                assert answer.features[ORDERS].int_value == self.orders, (answer, self.orders)
                await self._look(servers)

    async def _look(self, servers: Servers) -> None:
        """Whichever server took the order, the others know it."""
        for answer in await servers.read(self._question()):
            assert answer.features[ORDERS].int_value == self.orders, (answer, self.orders)
            assert not answer.degraded, answer
        await asyncio.sleep(_PAUSE)

    def _question(self) -> pb.GetFeaturesRequest:
        return pb.GetFeaturesRequest(entity="User", id=self.user, features=[ORDERS])

    def _id(self, event: RawEvent) -> str:
        return f"{self.user}.{self.orders}.{event.kind}"

    def _json(self, event: RawEvent) -> dict[str, object]:
        made: dict[str, object] = {
            "eventId": self._id(event),
            "eventType": event.kind,
            "userId": event.user,
            "eventTime": event.time.isoformat(timespec="milliseconds"),
            "productDetails": [{"productId": product} for product in event.products],
        }
        return made if event.revenue is None else {**made, "revenue": float(event.revenue)}


def message(event: RawEvent, event_id: str) -> pb.Event:
    """An event as the gRPC door takes it."""
    made = pb.Event(
        event_id=event_id,
        event_type=event.kind,
        user_id=event.user,
        product_details=[pb.ProductDetail(product_id=product) for product in event.products],
    )
    made.event_time.FromDatetime(event.time)
    if event.revenue is not None:
        made.revenue = float(event.revenue)
    return made
