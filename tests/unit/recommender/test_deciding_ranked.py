"""A page ordered by a trained ranker: what moves it, and what its explanation says."""

from __future__ import annotations

import numpy as np
import pytest

from services.recommender.domain.deciding import Choice, Trained, decide
from services.recommender.domain.learned import Floats, Singles
from services.recommender.domain.personal import personal
from services.recommender.domain.scoring import Facts
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.signals import UserSignals
from tests.support.candidates import pool
from tests.support.learned import ranker, small

IDS = ("bought", "wanted", "neither", "new")
# The version does not know the last one.
VERSION = small(IDS[:3], wanted=(1.0, 50.0, 0.0))
CONFIG = ServingConfig("test", (), objective="anything")
HISTORY = {"bought": ("bought",), "bought_table": np.array([[3.0, 0.0, 500_000.0, 2.5]]), "purchases": ("bought",)}


class Counting:
    """A ranker that tells how many rows it was asked to explain, each time."""

    def __init__(self) -> None:
        self._ranker = ranker(own=2.0, log_wanted_28d=0.1)
        self.features = self._ranker.features
        self.explained: list[int] = []

    def score(self, matrix: Singles) -> Floats:
        return self._ranker.score(matrix)

    def contributions(self, matrix: Singles) -> Floats:
        self.explained.append(len(matrix))
        return self._ranker.contributions(matrix)


def facts(similarity: tuple[float, ...] = (0.0, 0.0, 0.0, 0.9)) -> Facts:
    nothing = np.full(4, np.nan)
    return Facts(
        top_categories=["Audio"] * 4,
        brands=[""] * 4,
        price_percentile=nothing,
        similarity=np.array(similarity),
        collaborative=nothing,
        popularity=nothing,
        rating=nothing,
        low_stock=np.array([False, False, True, False]),
        places=VERSION.find(IDS),
    )


def chosen(config: ServingConfig = CONFIG, *, session: bool = False, **weights: float) -> dict[str, Choice]:
    signals = UserSignals("Audio" if session else None, recent_views=("v",), **HISTORY)  # type: ignore[arg-type]  # named as the fields
    trained = Trained(ranker(**weights), personal(VERSION, signals.state(1_000_000.0)))
    candidates = pool(*((id_, 0.1, None) for id_ in IDS))
    choices = decide(config, candidates, facts(), signals, {}, 4, explain=True, trained=trained)
    return {choice.candidate.id: choice for choice in choices}


def test_the_ranker_orders_by_what_the_version_knows() -> None:
    assert list(chosen(own=2.0, log_wanted_28d=0.1)) == ["bought", "wanted", "new", "neither"]
    assert next(iter(chosen(own=-2.0, log_wanted_28d=1.0))) == "wanted"


@pytest.mark.parametrize("session", [True, False])
def test_contributions_sum_to_the_log_odds(session: bool) -> None:
    choices = chosen(session=session, own=2.0, own_decayed=0.7, log_wanted_28d=0.3, viewed=1.0)
    for choice in choices.values():
        assert choice.explanation is not None
        parts = {part.column: part.amount for part in choice.explanation.contributions}
        assert sum(parts.values()) == pytest.approx(choice.score, abs=1e-6)
        assert parts["intercept"] == -1.5
        assert ("session_similarity" in parts) is session
        assert "fusion" not in parts


def test_only_what_is_looked_at_is_explained() -> None:
    trained = Trained(Counting(), personal(VERSION, UserSignals().state(1_000_000.0)))
    candidates = pool(*((id_, 0.1, None) for id_ in IDS))
    choices = decide(CONFIG, candidates, facts(), UserSignals(), {}, 4, explain=True, trained=trained)
    counting = trained.ranker
    assert isinstance(counting, Counting)
    assert not counting.explained
    shown = choices[:2]
    assert all(choice.explanation is not None and choice.explanation.contributions for choice in shown)
    assert [choices[0], choices[1]] == shown
    assert counting.explained == [2], (
        "a page has hundreds of candidates: explaining all of them holds the event loop for 20 ms"
    )


def test_a_session_counts_beside_the_ranker_as_long_as_it_lasts() -> None:
    quiet, busy = chosen(own=1.0), chosen(session=True, own=1.0)
    assert list(quiet)[-1] == "neither", "low stock is always known"
    assert next(iter(busy)) == "bought"
    assert busy["new"].score - quiet["new"].score == pytest.approx(0.875 + 0.5)
    assert busy["bought"].score - quiet["bought"].score == pytest.approx(0.5)


def test_a_config_may_weigh_what_counts_beside_the_ranker() -> None:
    config = ServingConfig("test", (), objective="anything", weights={"session_similarity": 9.0, "repeat": 3.0})
    assert next(iter(chosen(config, session=True, own=1.0))) == "new"
    assert chosen(config, own=0.0)["bought"].score == pytest.approx(-1.5 + 3.0)
