"""Pages of recommendations in proto3 JSON: that of a product is made once, remembered by the product's bytes.

Two thirds of writing a page, and the same products are on many. Equal, byte for byte, to what `encoding` makes of the
whole answer, which a test asserts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from windowshop.recommender.v1 import catalog_pb2, recommendation_pb2

from gateway.transcoding.encoding import Encoder
from services.runtime.generations import Generations

# Bytes that one generation remembers, of two: some 8,000 products.
_ROOM = 8_000_000
# What a product costs beside its bytes and its JSON.
_PRODUCT = 250
# Seconds after which what nobody reads any more is forgotten, twice at most.
_GENERATION = 60.0

_encode = msgspec.json.Encoder().encode


class PagesEncoder:
    """Writes pages of recommendations."""

    def __init__(self, room: int = _ROOM, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: in seconds."""
        self._clock = clock
        self._known: Generations[None, bytes, msgspec.Raw] = Generations(room, _GENERATION)
        self._plain = Encoder(catalog_pb2.Product.DESCRIPTOR).encode
        instead = {catalog_pb2.Product.DESCRIPTOR.full_name: self._product}
        self._page = Encoder(recommendation_pb2.RecommendResponse.DESCRIPTOR, instead).encode

    def encode(self, answer: recommendation_pb2.RecommendResponse) -> bytes:
        """The JSON of the page."""
        return _encode(self._page(answer))

    def _product(self, product: Any) -> msgspec.Raw:
        key = product.SerializeToString()
        text = self._known.young(None, self._clock()).get(key)
        if text is None:
            text = self._known.old(None, key)
            if text is None:
                text = msgspec.Raw(_encode(self._plain(product)))
            self._known.keep(None, key, text, len(key) + memoryview(text).nbytes + _PRODUCT)
        return text
