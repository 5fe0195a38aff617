"""The pure part of ranking: merging, scoring, selecting, explaining."""

from __future__ import annotations

import base64
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain.attribution import Attribution, encode
from services.recommender.domain.candidates import RANK_CONSTANT, Candidate, Found, Hit, Located, Pool, Trace, merge
from services.recommender.domain.deciding import decide
from services.recommender.domain.interactions import confidences
from services.recommender.domain.prices import percentile
from services.recommender.domain.reasons import MAX_REASONS, reasons
from services.recommender.domain.scoring import COLUMNS, DEFAULT_WEIGHTS, Facts, assemble, effective_weights, score
from services.recommender.domain.selection import Scored, select
from services.recommender.domain.serving import Diversity, ServingConfig
from services.recommender.domain.showing import Hidden
from services.recommender.domain.signals import (
    Anchor,
    Card,
    UserSignals,
    category_tastes,
    leading_categories,
    page_anchors,
    session_anchors,
)
from tests.support.candidates import Row, pool
from tests.support.learned import small

IDS = [f"p{number:02d}" for number in range(40)]
BAND = {"Audio": [0.0, 10.0, 20.0, 30.0, 40.0]}


def candidate(product_id: str, fusion: float = 0.5, anchor: str | None = None) -> Row:
    return product_id, fusion, anchor


def all_of(merged: Pool) -> list[Candidate]:
    return merged.candidates(range(len(merged)))


def facts(count: int, **columns: object) -> Facts:
    nothing = np.full(count, np.nan)
    values: dict[str, object] = {
        "top_categories": ["Audio"] * count,
        "brands": [""] * count,
        "price_percentile": nothing,
        "similarity": nothing,
        "collaborative": nothing,
        "popularity": nothing,
        "rating": nothing,
        "low_stock": np.zeros(count, dtype=bool),
    }
    return Facts(**(values | columns))  # type: ignore[arg-type]  # named as the fields


def column(matrix: np.ndarray, name: str) -> list[float]:
    return [float(value) for value in matrix[:, COLUMNS.index(name)]]


def test_merge_adds_the_shares_of_reciprocal_ranks() -> None:
    found = {"a": [Hit("x", 9.0), Hit("y", 5.0)], "b": [Hit("y", 0.9), Hit("z", 0.1)]}
    merged = all_of(merge(found, {"a": 1.0, "b": 2.0}))
    ceiling = 3.0 / (RANK_CONSTANT + 1)
    expected = {
        "y": (1 / (RANK_CONSTANT + 2) + 2 / (RANK_CONSTANT + 1)) / ceiling,
        "z": 2 / (RANK_CONSTANT + 2) / ceiling,
        "x": 1 / (RANK_CONSTANT + 1) / ceiling,
    }
    assert {c.id: c.fusion for c in merged} == pytest.approx(expected)
    assert [c.id for c in merged] == ["y", "z", "x"]
    assert [trace.source for trace in merged[0].traces] == ["b", "a"]


def test_first_everywhere_scores_one() -> None:
    merged = merge({"a": [Hit("x", 1)], "b": [Hit("x", 1)]}, {"a": 0.3, "b": 2.0})
    assert merged.fusion.tolist() == pytest.approx([1.0])


def test_merge_counts_repeats_once_and_leaves_out_the_excluded_before_ranking() -> None:
    found = {"a": [Hit("gone", 9), Hit("x", 8, "v"), Hit("x", 7, "w"), Hit("y", 6)]}
    merged = all_of(merge(found, {}, excluded=Hidden(frozenset({"gone"}))))
    assert [(c.id, c.traces[0].rank, c.traces[0].anchor) for c in merged] == [("x", 1, "v"), ("y", 2, None)]


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.tuples(st.sampled_from(IDS), st.floats(-5, 5)), max_size=20))
)
def test_merge_has_each_product_once_within_zero_and_one(found: dict[str, list[tuple[str, float]]]) -> None:
    hits = {source: [Hit(*hit) for hit in rows] for source, rows in found.items()}
    merged = all_of(merge(hits, {}, Hidden(frozenset({"p00"})), limit=7))
    named = [c.id for c in merged]
    assert len(named) == len(set(named)) <= 7
    assert "p00" not in named
    assert all(0 < c.fusion <= 1 + 1e-9 for c in merged)
    assert [c.fusion for c in merged] == sorted((c.fusion for c in merged), reverse=True)


def test_merge_does_not_depend_on_the_order_of_hits() -> None:
    hits = [Hit("b", 1.0), Hit("a", 1.0), Hit("c", 2.0)]
    assert all_of(merge({"s": hits}, {})) == all_of(merge({"s": hits[::-1]}, {}))
    assert merge({"s": hits}, {}).ids == ["c", "a", "b"]


sources = st.sampled_from(["p", "q", "r"])
by_source = st.dictionaries(
    sources,
    st.tuples(st.booleans(), st.lists(st.sampled_from(IDS[:12]), unique=True, max_size=9)),
    max_size=3,
)


@given(
    by_source,
    st.dictionaries(sources, st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3),
    st.frozensets(st.sampled_from(IDS[:12])),
    st.integers(1, 9),
)
def test_merge_is_what_its_definition_says_whoever_found_it(
    found: dict[str, tuple[bool, list[str]]], weights: dict[str, float], gone: frozenset[str], limit: int
) -> None:
    """Sources of the version name places, others ids, of which the version does not know all."""
    version = small(IDS[:12:2])
    given: dict[str, Found] = {}
    ranks: dict[str, dict[str, int]] = {}
    for source, (located, listed) in found.items():
        ids = [id_ for id_ in listed if not located or id_ in version.places]
        scores = -np.arange(len(ids), dtype=np.float64)
        given[source] = (
            Located(version.find(ids), scores)
            if located
            else [Hit(id_, score) for id_, score in zip(ids, scores.tolist(), strict=True)]
        )
        ranks[source] = {id_: rank for rank, id_ in enumerate((id_ for id_ in ids if id_ not in gone), start=1)}
    ceiling = sum(weights[source] for source in found) / (RANK_CONSTANT + 1) or 1.0
    fused: dict[str, float] = {}
    for source, own in ranks.items():
        for id_, rank in own.items():
            fused[id_] = fused.get(id_, 0.0) + weights[source] / ceiling / (RANK_CONSTANT + rank)
    expected = sorted(fused.items(), key=lambda item: (-item[1], item[0]))[:limit]
    merged = merge(given, weights, Hidden(gone), limit, version)
    assert list(zip(merged.ids, merged.fusion.tolist(), strict=True)) == expected
    assert merged.places.tolist() == version.find(merged.ids).tolist()
    for one in all_of(merged):
        assert {trace.source: trace.rank for trace in one.traces} == {
            source: own[one.id] for source, own in ranks.items() if one.id in own
        }
        assert sum(trace.share for trace in one.traces) == pytest.approx(one.fusion)


def test_each_column_of_the_scorer_says_what_it_means() -> None:
    candidates = [candidate("own", 0.9), candidate("cart", 0.1)]
    signals = UserSignals("Audio", price_sensitivity="high", recent_carts=("cart",), purchases=("z", "own"))
    matrix = assemble(
        pool(*candidates),
        facts(
            2,
            top_categories=["Audio", "Garden"],
            price_percentile=np.array([1 / 6, 1.0]),
            similarity=np.array([1.0, 0.1]),
            collaborative=np.array([0.4, -0.2]),
            popularity=np.array([100.0, np.nan]),
            rating=np.array([5.0, 1.0]),
            low_stock=np.array([False, True]),
        ),
        signals,
        {"Audio": 0.75, "Garden": 0.25},
    )
    assert column(matrix, "fusion") == [0.9, 0.1]
    assert column(matrix, "collaborative") == [1.0, 0.0]
    assert column(matrix, "session_similarity") == [1.0, 0.0]
    assert column(matrix, "browsing_category") == [1.0, 0.0]
    assert column(matrix, "category_affinity") == pytest.approx([1.0, 1 / 3])
    assert column(matrix, "price_fit") == pytest.approx([1.0, 1 / 6])
    assert column(matrix, "popularity") == [1.0, 0.0]
    assert column(matrix, "rating") == [1.0, -1.0]
    assert column(matrix, "repeat") == pytest.approx([1 / 1.1, 0.0])
    assert column(matrix, "in_cart") == [0.0, 1.0]
    assert column(matrix, "low_stock") == [0.0, 1.0]


@pytest.mark.parametrize(("segment", "cheap_first"), [("high", True), ("low", False)])
def test_price_fit_follows_the_segment(segment: str, cheap_first: bool) -> None:
    prices = facts(2, price_percentile=np.array([0.05, 0.95]))
    matrix = assemble(pool(candidate("cheap"), candidate("dear")), prices, UserSignals(price_sensitivity=segment), {})
    cheap, dear = column(matrix, "price_fit")
    assert (cheap > dear) is cheap_first


def test_what_is_unknown_is_neutral() -> None:
    matrix = assemble(pool(candidate("x")), facts(1), UserSignals(), {})
    assert column(matrix, "price_fit") == [0.5]
    assert column(matrix, "rating") == [0.0]
    assert not np.isnan(matrix).any()


def test_a_score_is_the_weighted_sum_and_weights_can_be_overridden() -> None:
    matrix = np.eye(len(COLUMNS))

    def scores(weights: dict[str, float], *, ranked: bool = False, in_session: bool = True) -> dict[str, float]:
        chosen = effective_weights(weights, ranked=ranked, in_session=in_session)
        return dict(zip(COLUMNS, score(matrix, chosen).tolist(), strict=True))

    assert scores({}) == DEFAULT_WEIGHTS
    assert scores({"rating": 7.0})["rating"] == 7.0
    assert scores({"session_similarity": 2.0}, ranked=True)["session_similarity"] == 2.0
    assert scores({"session_similarity": 2.0}, ranked=True, in_session=False)["session_similarity"] == 0.0
    assert scores({}, ranked=True)["fusion"] == 0.0


def scored(number: int, category: str = "", brand: str = "", fresh: bool = False) -> Scored:
    return Scored(f"p{number:02d}", 1.0 - number / 100, category, brand, fresh)


def test_a_cap_limits_a_category_on_the_page_and_only_there() -> None:
    items = [scored(n, "Audio") for n in range(10)] + [scored(n, "Garden") for n in range(10, 20)]
    order = select(items, 10, Diversity(category_cap=0.6))
    page = order[:10]
    assert [item.top_category for item in page] == ["Audio"] * 6 + ["Garden"] * 4
    assert len(order) == 20
    assert [item.id for item in order[10:14]] == ["p06", "p07", "p08", "p09"]


def test_a_full_page_is_worth_more_than_a_diverse_one() -> None:
    items = [scored(n, "Audio", "Brand") for n in range(10)]
    assert len(select(items, 10, Diversity(category_cap=0.2, brand_cap=0.1))) == 10


def test_a_session_has_its_share_of_the_page_in_the_order_of_scores() -> None:
    items = [scored(n) for n in range(20)] + [scored(n, fresh=True) for n in range(20, 30)]
    page = select(items, 10, Diversity(session_share=0.3))[:10]
    assert sum(item.fresh for item in page) == 3
    assert [item.score for item in page] == sorted((item.score for item in page), reverse=True)


@given(
    st.lists(st.tuples(st.sampled_from(["", "A", "B"]), st.sampled_from(["", "X", "Y"]), st.booleans()), max_size=40),
    st.integers(1, 12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_selection_loses_and_invents_nothing(
    rows: list[tuple[str, str, bool]], page_size: int, cap: float, share: float
) -> None:
    items = [scored(number, *row) for number, row in enumerate(rows)]
    order = select(items, page_size, Diversity(cap, cap, share))
    assert sorted(item.id for item in order) == sorted(item.id for item in items)


def test_decide_marks_neighbours_of_the_last_view_only_in_a_session() -> None:
    candidates = [candidate(f"p{n:02d}", 0.9 - n / 100) for n in range(10)] + [candidate("near", 0.01, "seen")]
    config = ServingConfig("test", (), diversity=Diversity(session_share=0.2))
    idle = UserSignals(None, recent_views=("seen",))
    busy = UserSignals("Audio", recent_views=("seen",))
    chosen = {
        signals: [choice.candidate.id for choice in decide(config, pool(*candidates), facts(11), signals, {}, 5)][:5]
        for signals in (idle, busy)
    }
    assert "near" not in chosen[idle]
    assert "near" in chosen[busy]


def test_nothing_to_decide() -> None:
    assert not decide(ServingConfig("test", ()), pool(), facts(0), UserSignals(), {}, 10)


def card(product_id: str, category: str = "Audio") -> Card:
    return Card(product_id, f"Title {product_id}", category, "", None)


def test_reasons_run_from_the_strongest_source_to_the_weakest() -> None:
    traces = (
        Trace("semantic", 1, 0.5, "v"),
        Trace("co_chosen", 3, 0.4, "b"),
        Trace("popular_in_categories", 1, 0.3, None),
        Trace("popular", 1, 0.2, None),
    )
    origins = {"v": "view", "b": "purchase"}
    said = reasons(traces, "Audio", {"v": card("v"), "b": card("b")}, origins)
    assert said == (
        "Because you viewed Title v",
        "Chosen by shoppers who bought Title b",
        "Popular in Audio",
    )
    assert len(said) == MAX_REASONS


def test_there_is_always_a_reason() -> None:
    assert reasons((), "", {}, {}) == ("Popular now",)
    assert reasons((Trace("semantic", 1, 1.0, "deleted"),), "", {}, {}) == ("Matches what you looked at",)


@pytest.mark.parametrize("model", ["", "als-20261123-010203-ab12"])
def test_a_token_says_what_it_was_made_of(model: str) -> None:
    said = Attribution("recommended-for-you", model, "0011223344556677")
    token = encode(said)
    parts = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split("~")
    assert parts == ["1", said.serving_config, said.model_version, said.answer_id]
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def test_tastes_are_shares_of_what_was_done_most_and_last() -> None:
    cards = {"a": card("a", "Audio"), "g": card("g", "Garden"), "n": card("n", "")}
    tastes = category_tastes(UserSignals(recent_views=("a", "n", "unknown"), purchases=("g",)), cards)
    assert tastes == pytest.approx({"Audio": 1 / 6, "Garden": 5 / 6})
    assert category_tastes(UserSignals(), cards) == {}


def test_what_is_browsed_leads_the_categories() -> None:
    tastes = {"A": 0.5, "B": 0.3, "C": 0.1, "D": 0.1}
    assert leading_categories(tastes, "D") == ("D", "A", "B")
    assert leading_categories(tastes, None) == ("A", "B", "C")
    assert leading_categories({}, None) == ()


def test_anchors_are_what_counts_now() -> None:
    signals = UserSignals(recent_views=("v1", "v2", "v3", "v4"), recent_carts=("c1", "v1"), purchases=("b",))
    assert [(a.id, a.origin) for a in session_anchors(signals, ("page",))] == [
        ("page", "page"),
        ("v1", "view"),
        ("v2", "view"),
        ("v3", "view"),
        ("c1", "cart"),
    ]
    assert session_anchors(UserSignals(purchases=("b1", "b2", "b3", "b4")), ()) == tuple(
        Anchor(name, 0.5, "purchase") for name in ("b1", "b2", "b3")
    )
    assert [anchor.id for anchor in page_anchors(("a", "a", "b"))] == ["a", "b"]


@pytest.mark.parametrize(("price", "expected"), [(-5.0, 0.0), (0.0, 0.0), (15.0, 0.375), (40.0, 1.0), (99.0, 1.0)])
def test_a_price_stands_among_its_category(price: float, expected: float) -> None:
    assert percentile("Audio", price, BAND) == pytest.approx(expected)


@pytest.mark.parametrize(("category", "price"), [("Garden", 1.0), ("Audio", None), ("", 1.0)])
def test_a_price_that_cannot_be_placed(category: str, price: float | None) -> None:
    assert math.isnan(percentile(category, price, BAND | {"": [1.0, 1.0]}))


def test_confidence_halves_in_sixty_days_and_knows_no_future() -> None:
    day = 86_400_000
    times = np.array([100 * day, 40 * day, 101 * day])
    assert confidences(np.array([5.0, 5.0, 1.0]), times, 100 * day).tolist() == [5.0, 2.5, 1.0]
