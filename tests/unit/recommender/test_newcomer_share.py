"""The place that is kept for what nobody could take yet."""

from __future__ import annotations

import numpy as np
import pytest

from services.recommender.domain.candidates import Hit, merge
from services.recommender.domain.deciding import Trained, decide
from services.recommender.domain.explaining import NEWCOMER_SHARE, movements
from services.recommender.domain.personal import personal
from services.recommender.domain.scoring import Facts
from services.recommender.domain.selection import Scored, select
from services.recommender.domain.serving import Diversity, ServingConfig, SourceSpec
from services.recommender.domain.signals import UserSignals
from services.recommender.domain.state import ShopperState
from tests.support.learned import ranker, small

KNOWN = [Scored(f"k{n:02d}", 5.0 - n / 10, "c", "b", fresh=False) for n in range(20)]
NEW = [Scored(f"n{n}", -3.0, "c", "b", fresh=False, newness=0.4 + n / 100) for n in range(5)]
TENTH = Diversity(newcomer_share=0.1)


@pytest.mark.parametrize(("size", "places"), [(5, 0), (9, 0), (10, 1), (19, 1), (20, 2)])
def test_the_best_fitting_newcomers_get_their_places_and_no_more(size: int, places: int) -> None:
    page = [item.id for item in select([*KNOWN, *NEW], size, TENTH)[:size]]
    assert page == [f"k{n:02d}" for n in range(size - places)] + sorted(["n4", "n3"][:places])


def test_who_is_there_by_score_or_session_counts() -> None:
    liked = Scored("n9", 9.0, "c", "b", fresh=True, newness=0.3)
    page = [item.id for item in select([*KNOWN, *NEW, liked], 10, Diversity(newcomer_share=0.1, session_share=0.3))]
    assert page[:10] == ["n9", *(f"k{n:02d}" for n in range(9))]


def test_without_newcomers_or_their_share_the_page_is_as_it_was() -> None:
    assert select(KNOWN, 10, TENTH) == select(KNOWN, 10, Diversity())
    assert not any(item.newness for item in select([*KNOWN, *NEW], 10, Diversity())[:10])


def test_caps_hold_for_newcomers_too() -> None:
    mixed = [Scored(f"m{n}", 1.0, f"c{n}", "", fresh=False) for n in range(10)]
    full = [Scored(f"f{n}", 2.0, "c", "", fresh=True) for n in range(2)]
    rules = Diversity(newcomer_share=0.1, category_cap=0.2, session_share=0.2)
    assert not any(item.newness for item in select([*full, *mixed, *NEW], 10, rules)[:10])


def test_an_explanation_names_it() -> None:
    moved = movements([*KNOWN, *NEW], 10, TENTH)
    assert moved["n4"] == (NEWCOMER_SHARE,)
    assert moved["k00"] == ()


def test_a_newcomer_is_what_the_version_does_not_know_and_text_has_found() -> None:
    known = [f"k{n:02d}" for n in range(15)]
    version = small(known, wanted=[float(20 - n) for n in range(15)])
    trained = Trained(ranker(log_wanted_28d=1.0, log_sold_ever=1.0), personal(version, ShopperState()))
    found = {
        "best_sellers": [Hit(id_, 20.0 - n) for n, id_ in enumerate(known)],
        "semantic": [Hit("new", 0.6, "k14"), Hit("newer", 0.5, "k14"), Hit("k13", 0.4, "k14")],
        "popular": [Hit("unheard-of", 0.1)],
    }
    pool = merge(found, {}, known=version)
    nothing = np.full(len(pool), np.nan)
    facts = Facts(
        [""] * len(pool), [""] * len(pool), nothing, nothing, nothing, nothing, nothing,
        np.zeros(len(pool), dtype=np.bool_), places=pool.places,
    )  # fmt: skip

    def page(share: float) -> list[str]:
        sources = (SourceSpec("best_sellers", 9, 0.3, 1.0),)
        config = ServingConfig("test", sources, objective="anything", diversity=Diversity(newcomer_share=share))
        return [one.candidate.id for one in decide(config, pool, facts, UserSignals(), {}, 10, trained=trained)[:10]]

    assert page(0.0) == known[:10]
    assert page(0.1) == [*known[:9], "new"]
    assert page(0.3) == [*known[:8], "new", "newer"], "what came by no text fits nobody"
