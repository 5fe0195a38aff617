"""Pages of recommendations are written byte for byte as other answers are, whatever is remembered of their products."""

from __future__ import annotations

from typing import Any

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from windowshop.recommender.v1 import catalog_pb2, recommendation_pb2

from gateway.transcoding.encoding import Encoder
from gateway.transcoding.pages import PagesEncoder
from tests.support.gateway_answers import EXPLANATION

TEXTS = st.sampled_from(["", "a", 'é"\\\n', "\u2028", "x" * 40])
PRODUCTS = st.builds(
    catalog_pb2.Product,
    id=st.sampled_from(["a", "b"]),
    title=TEXTS,
    categories=st.lists(TEXTS, max_size=2),
    price=st.sampled_from([None, 0.0, 19.5, float("nan")]),
    available_quantity=st.sampled_from([None, 0, 3]),
    attributes=st.dictionaries(TEXTS, TEXTS, max_size=3),
    create_time=st.sampled_from([None, Timestamp(seconds=1_795_435_200, nanos=250_000_000)]),
)
RESULTS = st.builds(
    recommendation_pb2.Recommendation,
    id=st.sampled_from(["a", "b"]),
    score=st.floats(),
    reasons=st.lists(TEXTS, max_size=2),
    product=st.one_of(st.none(), PRODUCTS),
    explanation=st.sampled_from([None, EXPLANATION]),
)
PAGES = st.builds(
    recommendation_pb2.RecommendResponse,
    results=st.lists(RESULTS, max_size=4),
    degraded=st.lists(TEXTS, max_size=1),
    next_page_token=TEXTS,
)

plainly = Encoder(recommendation_pb2.RecommendResponse.DESCRIPTOR).encode


@given(st.lists(st.tuples(PAGES, st.sampled_from([0, 0, 40])), max_size=6))
def test_pages_are_written_as_other_answers_are(asked: list[tuple[Any, int]]) -> None:
    now = 0.0
    encoder = PagesEncoder(room=3_000, clock=lambda: now)
    for page, seconds in asked:
        now += seconds
        for _ in range(2):
            sent = recommendation_pb2.RecommendResponse.FromString(page.SerializeToString())
            assert encoder.encode(sent) == msgspec.json.encode(plainly(sent))


def test_a_product_is_written_once_while_it_is_asked_for(monkeypatch: Any) -> None:
    made: list[str] = []
    whole = Encoder.encode

    def counting(encoder: Encoder, message: Any) -> dict[str, Any]:
        if isinstance(message, catalog_pb2.Product):
            made.append(message.title)
        return whole(encoder, message)

    monkeypatch.setattr(Encoder, "encode", counting)
    now = 0.0
    encoder = PagesEncoder(clock=lambda: now)

    def ask(title: str) -> None:
        product = catalog_pb2.Product(id="a", title=title)
        encoder.encode(
            recommendation_pb2.RecommendResponse(results=[recommendation_pb2.Recommendation(product=product)])
        )

    for _ in range(4):  # for longer than it is kept unasked
        ask("Lamp")
        now += 50
    assert made == ["Lamp"]
    ask("Lamp, reduced")
    assert made == ["Lamp", "Lamp, reduced"]
    now += 200
    ask("Other")  # a generation passes
    now += 200
    ask("Lamp")
    assert made[2:] == ["Other", "Lamp"]
