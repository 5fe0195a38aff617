"""Page tokens of recommendations: what they carry, and that nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain.product import Product
from services.recommender.domain.showing import MAX_SHOWN, Hidden, fingerprint
from services.recommender.pipeline.context import Answer, Ask, Result
from services.recommender.servicer.paging import encode_token
from services.recommender.servicer.scrolling import continued, next_token
from services.runtime.errors import ServiceError

ASK = Ask("recommended-for-you", "user_001", page_size=3)


def answer(*ids: str, more: bool = True) -> Answer:
    results = tuple(Result(Product(id_, title=id_), 1.0, ("Popular now",)) for id_ in ids)
    return Answer(results, "token", "recommended-for-you", "", (), "", more)


def numbered(count: int) -> Answer:
    return answer(*(f"p{number}" for number in range(count)))


def test_the_next_page_knows_what_was_shown() -> None:
    second = continued(ASK, next_token(ASK, answer("a", "b")))
    third = continued(ASK, next_token(second, answer("c")))
    assert second == replace(ASK, shown=(fingerprint("a"), fingerprint("b")))
    assert third.shown == (*second.shown, fingerprint("c"))
    hidden = Hidden(frozenset({"x"}), frozenset(third.shown))
    assert [id_ for id_ in "abcdx" if id_ in hidden] == ["a", "b", "c", "x"]


def test_the_last_page_has_no_token() -> None:
    assert next_token(ASK, answer("a", more=False)) == ""
    assert continued(ASK, "") is ASK


def test_five_hundred_is_the_end_and_fits_into_a_url() -> None:
    token = next_token(ASK, numbered(MAX_SHOWN - 1))
    assert len(token) <= 3_400
    last = continued(replace(ASK, page_size=100), token)
    assert last.page_size == 1, "so that no page goes beyond the end"
    assert next_token(last, answer("last")) == ""
    assert next_token(ASK, numbered(MAX_SHOWN)) == ""


@pytest.mark.parametrize(
    "other",
    [
        replace(ASK, user_id="user_002"),
        replace(ASK, user_id="", visitor_id="user_001"),
        replace(ASK, serving_config="trending"),
        replace(ASK, product_ids=("p",)),
    ],
)
def test_a_token_of_another_question_is_refused(other: Ask) -> None:
    token = next_token(ASK, answer("a"))
    with pytest.raises(ServiceError) as caught:
        continued(other, token)
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


def test_what_only_shapes_a_page_may_change() -> None:
    token = next_token(ASK, answer("a"))
    assert continued(replace(ASK, page_size=50, explain=True, excluded=("z",)), token).shown == (fingerprint("a"),)


@given(st.text(max_size=60))
def test_no_text_is_taken_for_a_token(text: str) -> None:
    if text:
        with pytest.raises(ServiceError):
            continued(ASK, text)


@given(st.integers(0, 10_000), st.sampled_from("AZaz09-_="))
def test_a_changed_token_is_refused(place: int, character: str) -> None:
    token = next_token(ASK, numbered(20))
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        with pytest.raises(ServiceError):
            continued(ASK, changed)


@pytest.mark.parametrize(
    "token", [encode_token("products", "a"), next_token(ASK, numbered(3))[:-1], "é", "A" * 100_000]
)
def test_foreign_short_and_long_tokens_are_refused(token: str) -> None:
    with pytest.raises(ServiceError):
        continued(ASK, token)
