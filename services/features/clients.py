"""The recommender, as far as this service needs it: the catalogue's change stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from windowshop.recommender.v1 import catalog_pb2 as pb
from windowshop.recommender.v1 import catalog_pb2_grpc as rpc

from services.features.signal_ports import Signal, SignalPage, SourceDownError

# The stream sends something at least every 10 seconds; three of them missing: the other side is gone, or hangs.
_SILENCE = 30.0
# Seconds: a stream is renewed about once an hour, so that several recommenders share the followers again.
_LIFETIME = 3_600.0


class StreamProductSignals:
    """Implements SignalSource over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rpc.CatalogServiceStub(channel)

    async def follow(self, cursor: str) -> AsyncIterator[SignalPage]:
        """See SignalSource."""
        call = self._stub.StreamProductSignals(pb.StreamProductSignalsRequest(cursor=cursor), timeout=_LIFETIME)
        messages = aiter(call)
        try:
            while True:
                try:
                    async with asyncio.timeout(_SILENCE):
                        message = await anext(messages)
                except StopAsyncIteration:
                    return
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:  # its lifetime: the next one goes on
                        return
                    raise SourceDownError(error.code().name) from error
                except TimeoutError as error:
                    raise SourceDownError("silent") from error
                yield _page(message)
        finally:
            call.cancel()


def _page(message: pb.StreamProductSignalsResponse) -> SignalPage:
    return SignalPage([_signal(s) for s in message.signals], message.cursor, message.restart, message.caught_up)


def _signal(message: pb.ProductSignal) -> Signal:
    return Signal(
        product_id=message.product_id,
        deleted=message.deleted,
        top_category=message.top_category or None,
        price=message.price if message.HasField("price") else None,
        available_quantity=message.available_quantity,
        low_stock_threshold=message.low_stock_threshold,
        rating_average=message.rating_average if message.HasField("rating_average") else None,
        rating_count=message.rating_count,
        brand=message.brand or None,
    )
