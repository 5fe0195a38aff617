"""Learning a version: what is known of the past, label windows, rows, rankers, and whether they earn their place."""

from __future__ import annotations

import dataclasses
from functools import cache
from itertools import pairwise
from pathlib import Path

import lightgbm
import numpy as np
import numpy.typing as npt
import pytest

from services.recommender.domain import learned as knowledge
from services.recommender.domain import ranker as rankers
from services.recommender.domain.personal import personal
from services.recommender.domain.ranker_features import FEATURES, assemble
from services.recommender.domain.retrieving import ANYTHING, NEW, OBJECTIVES, retrieve
from services.recommender.training.interactions import Kind, catalogue
from services.recommender.training.learning import __main__ as process
from services.recommender.training.learning import gate, job
from services.recommender.training.learning.fitting import fit_forest, fit_logistic, to_forest
from services.recommender.training.learning.log import DAY, PURCHASE, Log, Ratings
from services.recommender.training.learning.rows import Case, Rows, Window, cases, sample
from services.recommender.training.learning.states import States
from services.recommender.training.learning.version import learn
from services.recommender.training.learning.windows import WINDOWS, label_types, label_windows
from tests.support.learned import ranker as linear
from tests.support.shoplog import NOW, shop

CUTOFF = NOW - 28 * DAY
WINDOW = Window(CUTOFF, NOW)


RATING = FEATURES.index("rating")


def past_of(case: Case) -> npt.NDArray[np.float32]:
    """What a case's rows say of the past."""
    return case.matrix[:, [name not in ("daypart_lift", "device_lift") for name in FEATURES]]


def rows_of(log: Log, seed: int = 0) -> list[Case]:
    _, products = shop()
    return list(cases(log, learn(log, CUTOFF, products), WINDOW, (PURCHASE,), seed))


def with_opinions(log: Log) -> Log:
    """The log with a device for each row, where every third product has one of its own, and ratings all along."""
    devices = np.where(log.products % 3 == 0, 1, log.events % 2).astype(np.int8)
    rated = log.pick(slice(0, None, 9))
    stars = 1.0 + rated.products % 5
    return dataclasses.replace(
        log,
        devices=devices,
        device_names=("app", "web"),
        ratings=Ratings(rated.users, rated.products, stars.astype(np.float64), rated.times + 1),
    )


def test_what_comes_after_the_cutoff_changes_nothing_but_the_labels() -> None:
    log = with_opinions(shop()[0])
    after = int(np.searchsorted(log.times, CUTOFF))
    later = np.random.default_rng(3).permutation(np.arange(after, len(log)))
    order = np.concatenate([np.arange(after), later])
    # Whoever did anything later did something else, and so did everybody.
    given = log.ratings
    rated = int(np.searchsorted(given.times, CUTOFF))
    stars = np.append(given.stars[:rated], 6.0 - given.stars[rated:])
    shuffled = dataclasses.replace(
        log,
        users=log.users,
        products=log.products[order],
        types=log.types[order],
        devices=log.devices[order],
        ratings=dataclasses.replace(given, stars=stars),
    )
    assert not np.array_equal(shuffled.products, log.products)
    assert not np.array_equal(shuffled.ratings.stars, given.stars)
    one = {(case.user, case.objective): case for case in rows_of(log)}
    other = {(case.user, case.objective): case for case in rows_of(shuffled)}
    common = one.keys() & other.keys()
    assert len(common) > 100
    for key in common:
        np.testing.assert_array_equal(one[key].places, other[key].places)
        np.testing.assert_array_equal(one[key].fused, other[key].fused)
        # When and from what the page is asked for is no knowledge of the past: it is part of the question.
        np.testing.assert_array_equal(past_of(one[key]), past_of(other[key]))
    assert any(case.matrix[:, RATING].any() for case in one.values())
    for name in ("dayparts", "devices"):
        np.testing.assert_array_equal(
            *(getattr(learn(each, CUTOFF, shop()[1]).habits, name) for each in (log, shuffled))
        )
    assert learn(log, CUTOFF, shop()[1]).habits.devices.any()
    assert any(not np.array_equal(one[key].labels, other[key].labels) for key in common)


def test_what_came_before_the_cutoff_does_change_rows() -> None:
    log, _ = shop()
    before = int(np.searchsorted(log.times, CUTOFF))
    products = log.products.copy()
    products[: before // 2] = products[: before // 2][::-1]
    one, other = rows_of(log), rows_of(dataclasses.replace(log, products=products))
    assert any(not np.array_equal(a.matrix, b.matrix) for a, b in zip(one, other, strict=False))


def test_rows_have_no_holes_and_the_features_they_name() -> None:
    log, products = shop()
    known = learn(log, NOW, products)
    person = personal(known, States(log, NOW).of(0))
    matrix = assemble(person, np.append(np.arange(len(known)), -1))
    assert matrix.shape == (len(known) + 1, len(FEATURES))
    assert np.isfinite(matrix).all()
    assert len(set(FEATURES)) == len(FEATURES)


def test_a_version_reads_back_as_it_was_written() -> None:
    log, products = shop()
    known = learn(log, NOW, products)
    again = knowledge.decode(knowledge.encode(known))
    assert again.ids == known.ids
    np.testing.assert_array_equal(again.vectors, known.vectors)
    state = States(log, NOW).of(3)
    places = np.arange(-1, len(known))
    one, other = assemble(personal(known, state), places), assemble(personal(again, state), places)
    # Neighbours are kept with half the digits.
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)


def test_retrieval_for_new_products_has_none_that_was_bought() -> None:
    log, products = shop()
    known = learn(log, NOW, products)
    for user in range(10):
        person = personal(known, States(log, NOW).of(user))
        places, fused = retrieve(person, NEW)
        assert len(places)
        assert not set(places.tolist()) & set(person.bought.tolist())
        assert (np.diff(fused) <= 0).all()
        anything, _ = retrieve(person, ANYTHING)
        assert set(anything[:10].tolist()) & set(person.bought.tolist())


@pytest.mark.parametrize("fit", [fit_logistic, fit_forest])
def test_rankers_learn_write_and_explain(fit: object) -> None:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(4_000, len(FEATURES))).astype(np.float32)
    odds = 2 * matrix[:, 3] - matrix[:, 5]
    rows = Rows(matrix, random.random(4_000) < 1 / (1 + np.exp(-odds)), kept=0.5)
    ranker = fit(rows, FEATURES)  # type: ignore[operator]  # one of the two above
    scores = ranker.score(matrix)
    assert np.corrcoef(scores, odds)[0, 1] > 0.9
    np.testing.assert_allclose(ranker.contributions(matrix[:50]).sum(axis=1), scores[:50], atol=1e-9)
    again = rankers.decode(rankers.encode(ranker))
    assert tuple(again.features) == FEATURES
    np.testing.assert_array_equal(again.score(matrix), scores)
    # By columns, as a page makes them.
    np.testing.assert_array_equal(again.score(np.asfortranarray(matrix)), scores)
    # In blocks or row by row.
    np.testing.assert_array_equal(np.concatenate([again.score(matrix[i : i + 1]) for i in range(20)]), scores[:20])
    assert again.score(matrix[:0]).shape == (0,)


@pytest.mark.parametrize("leaves", [2, 15, 31, 60, 90])
def test_a_forest_scores_as_lightgbm_does(leaves: int) -> None:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(2_000, 6)).astype(np.float32)
    labels = matrix[:, 0] * matrix[:, 1] > 0
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": leaves, "min_data_in_leaf": 5},
        lightgbm.Dataset(matrix, labels),
        num_boost_round=20,
    )
    forest = to_forest(booster.dump_model()["tree_info"], [f"f{i}" for i in range(6)], offset=1.5)
    expected = np.asarray(booster.predict(matrix, raw_score=True)) + 1.5
    np.testing.assert_allclose(forest.score(matrix), expected, atol=1e-9)
    # What decides is whether a value is above a threshold: here they are each other's.
    edges = np.repeat(np.unique(forest.threshold[np.isfinite(forest.threshold)]).astype(np.float32)[:, None], 6, axis=1)
    one = forest.quickened()
    assert (one.masks is not None) is (leaves <= 64)
    for rows in (matrix, edges, np.nextafter(edges, np.float32(-9)), np.nextafter(edges, np.float32(9)), matrix[:0]):
        np.testing.assert_array_equal(one.score(rows), forest.score(rows))


def test_sampling_keeps_every_true_label() -> None:
    log, _ = shop()
    found = [case for case in rows_of(log) if case.objective == ANYTHING]
    rows = sample(found, limit=1_000, seed=1)
    assert rows.labels.sum() == sum(case.labels.sum() for case in found)
    assert len(rows.labels) < sum(len(case.labels) for case in found)
    assert 0 < rows.kept < 1
    assert len(rows.matrix) == len(rows.labels)


def test_label_windows_end_with_the_log_and_shrink_with_it() -> None:
    long, _ = shop(days=340)
    windows = label_windows(long)
    assert len(windows) == WINDOWS + 1
    assert windows[0].end == pytest.approx(long.times[-1] + 1)
    assert all(window.end - window.start == 28 * DAY for window in windows)
    assert all(newer.start == older.end for newer, older in pairwise(windows))
    month, _ = shop(days=30)
    assert 4 < (label_windows(month)[0].end - label_windows(month)[0].start) / DAY < 5
    week, _ = shop(days=4)
    assert label_windows(week) == ()


def test_views_are_labels_where_nobody_buys() -> None:
    log, _ = shop(purchases=False)
    assert PURCHASE in label_types(log, label_windows(log))
    assert len(label_types(log, label_windows(log))) == 3
    buying, _ = shop()
    assert label_types(buying, label_windows(buying)) == (PURCHASE,)


@cache
def good() -> job.Outcome:
    """Of the usual shop, without anything that serves."""
    return ran(shop()[0])


def ran(
    log: Log, active: dict[str, rankers.Logistic | rankers.Forest] | None = None, seen_until: float = 0.0
) -> job.Outcome:
    _, products = shop()
    progress: list[float] = []
    outcome = job.run(log, products, NOW, active or {}, progress.append, seen_until)
    assert progress == sorted(progress)
    assert knowledge.ARTIFACT in outcome.artifacts
    return outcome


def test_a_run_makes_a_version_whose_order_is_not_worse_than_reciprocal_ranks() -> None:
    outcome = good()
    assert not outcome.rejected
    for objective in OBJECTIVES:
        chosen = outcome.metrics[f"ndcg_{objective}"]
        assert chosen >= outcome.metrics[f"ndcg_{objective}_reciprocal_ranks"]
        assert outcome.lineage[f"ranker_{objective}"] in ("logistic", "forest", job.RECIPROCAL)
    assert "ranker_anything" in outcome.artifacts
    assert outcome.lineage["labels"] == "purchase-complete"


def only(feature: str, sign: float) -> job.Fit:
    """A fit that looks at one column."""

    def fit(rows: Rows, features: object) -> rankers.Logistic:
        known = fit_logistic(rows, FEATURES)
        chosen = np.array([name == feature for name in FEATURES])
        return dataclasses.replace(known, weights=np.where(chosen, sign, 0.0))

    return fit


def test_a_run_that_is_worse_than_what_serves_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = shop()
    serving = {ANYTHING: rankers.decode(good().artifacts["ranker_anything"])}
    monkeypatch.setattr(job, "_FITS", {"bad": only("own_decayed", 1.0)})
    monkeypatch.setattr(gate, "fused", lambda case: -case.fused)
    outcome = ran(log, serving)
    assert "active version" in outcome.rejected
    assert outcome.lineage["ranker_anything"] == "bad"
    assert outcome.metrics["ndcg_anything"] < outcome.metrics["ndcg_anything_active"]


def test_reciprocal_ranks_do_not_replace_a_ranker_that_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = shop()
    serving = {ANYTHING: rankers.decode(good().artifacts["ranker_anything"])}
    monkeypatch.setattr(job, "_FITS", {"bad": only("own_decayed", -1.0)})
    assert ran(log).lineage["ranker_anything"] == job.RECIPROCAL
    outcome = ran(log, serving)
    assert not outcome.rejected
    assert outcome.lineage["ranker_anything"].startswith("as before")
    assert outcome.artifacts["ranker_anything"] == good().artifacts["ranker_anything"]
    assert outcome.metrics["ndcg_anything"] == outcome.metrics["ndcg_anything_active"]
    # One that is no better goes.
    some = Rows(np.eye(99, len(FEATURES), dtype=np.float32), np.arange(99) > 9, 1.0)
    worst = only("own_decayed", -1.0)(some, FEATURES)
    assert ran(log, {ANYTHING: worst}).lineage["ranker_anything"] == job.RECIPROCAL


@pytest.mark.parametrize(("seen", "kept"), [(False, True), (True, False)])
def test_what_a_ranker_gained_by_having_seen_the_window_is_taken_off_before_reciprocal_ranks(
    seen: bool, kept: bool
) -> None:
    # A shop in which nothing can be learned of what is new, and trees that know the newest window by heart.
    log, products = shop(seed=9)
    outcome = job.Outcome()
    found = job._cases(log, products, label_windows(log), outcome, lambda _: None)
    own = [[case for case in window if case.objective == NEW] for window in found]
    by_heart = fit_forest(sample(own[0], 10_000, 2), FEATURES)
    job._rank(NEW, own, by_heart, seen, outcome)
    assert outcome.lineage["ranker_new"].startswith("as before" if kept else job.RECIPROCAL)
    assert ("ranker_new" in outcome.artifacts) == kept


@pytest.mark.parametrize(("users", "days"), [(80, 4.0), (2, 60.0)])
def test_a_quiet_shop_keeps_the_rankers_that_it_has(users: int, days: float) -> None:
    log, _ = shop(users=users, days=days)
    serving = {name: rankers.decode(good().artifacts[f"ranker_{name}"]) for name in OBJECTIVES}
    outcome = ran(log, serving, seen_until=5.0)
    assert not outcome.rejected
    for name in OBJECTIVES:
        assert outcome.artifacts[f"ranker_{name}"] == good().artifacts[f"ranker_{name}"]
    assert outcome.metrics["labels_until"] == 5.0


def test_nothing_is_rejected_because_what_serves_has_seen_the_newest_window() -> None:
    # As an hour before: what serves was trained on the labels that the choice among the orders was held away from.
    serving = {name: rankers.decode(good().artifacts[f"ranker_{name}"]) for name in OBJECTIVES}
    log, _ = shop()
    assert not ran(log, serving, good().metrics["labels_until"]).rejected


def test_a_ranker_that_cannot_be_read_is_nothing_to_be_worse_than(tmp_path: Path) -> None:
    (tmp_path / "active_anything").write_bytes(b"broken")
    (tmp_path / "active_new").write_bytes(rankers.encode(linear(own=1.0)))
    assert list(process.serving(tmp_path)) == [NEW]


@pytest.mark.parametrize(
    ("users", "days", "purchases"), [(80, 4.0, True), (2, 60.0, True), (80, 60.0, False), (1, 1.0, False)]
)
def test_small_shops_get_a_version(users: int, days: float, purchases: bool) -> None:
    log, _ = shop(users=users, days=days, purchases=purchases)
    outcome = ran(log)
    assert not outcome.rejected
    assert any(name.startswith("ranker") for name in outcome.lineage)


def test_a_shop_without_prices_categories_and_brands_gets_a_version() -> None:
    log, _ = shop(users=10, days=20.0)
    bare = catalogue([Kind("", "", None)] * len(log.product_ids))
    known = learn(log, NOW, bare)
    person = personal(known, States(log, NOW).of(0))
    assert np.isfinite(assemble(person, np.arange(-1, len(known)))).all()
    assert len(retrieve(person, NEW)[0])


def test_ndcg_of_known_orders() -> None:
    labels = np.array([True, False, True] + [False] * 9)
    case = Case(ANYTHING, 0, np.arange(12), -np.arange(12.0), np.zeros((12, 1), dtype=np.float32), labels, taken=3)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert gate.ndcg([case], gate.fused)[0] == pytest.approx((1 + 1 / np.log2(4)) / ideal)
    assert gate.compare(np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.4, 0.5])).worse
    assert not gate.compare(np.array([0.1, 0.5, 0.3]), np.array([0.3, 0.4, 0.2])).worse
