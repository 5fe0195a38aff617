"""Metrics by hand-made lists, baselines by their own rules, and a rehearsal on a small shop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from services.recommender.domain.learned import Places
from services.recommender.domain.retrieving import ANYTHING, NEW
from services.recommender.evaluate import evaluate
from services.recommender.training.evaluating.baselines import OWN, baselines, lists, top
from services.recommender.training.evaluating.comparing import METRICS, compare, pool, split, summary
from services.recommender.training.evaluating.metrics import Shop, judge, paired_bootstrap
from services.recommender.training.evaluating.offline import SERVED, rehearse
from services.recommender.training.evaluating.showing import plot, text_table
from services.recommender.training.learning.log import DAY, PURCHASE
from services.recommender.training.learning.truth import never_before, taken
from tests.support.shoplog import NOW, shop

SHOP = Shop(taken=np.array([8.0, 4.0, 2.0, 1.0, 1.0]), departments=np.array([1, 1, 2, 2, 2], dtype=np.int32))


def places(*numbers: int) -> Places:
    return np.array(numbers, dtype=np.int64)


def test_metrics_of_known_lists() -> None:
    lists = {1: places(0, 1, 2), 2: places(3)}
    truths = {1: places(1, 4), 2: places(3), 3: places(0)}
    judged = judge(lists, truths, {1: places(0, 2), 2: places(2)}, SHOP)
    assert list(judged.shoppers) == [1, 2, 3]
    ideal = 1 + 1 / np.log2(3)
    np.testing.assert_allclose(judged.values["ndcg"], [1 / np.log2(3) / ideal, 1.0, 0.0])
    np.testing.assert_allclose(judged.values["recall"], [0.5, 1.0, 0.0])
    np.testing.assert_allclose(judged.values["hit_rate"], [1.0, 1.0, 0.0])
    np.testing.assert_allclose(judged.values["mrr"], [0.5, 1.0, 0.0])
    # Departments 2/3 and 1/3 listed, half and half bought: a sixth of the list is out of proportion.
    np.testing.assert_allclose(judged.values["calibration"][:2], [1 - 1 / 6, 1.0])
    np.testing.assert_allclose(judged.values["novelty"][1], -np.log2(2 / 21))
    assert judged.mean("coverage") == pytest.approx(4 / 5)
    assert judged.mean("popularity_bias") == pytest.approx(np.mean([8, 4, 2, 1]) / np.mean([4, 1, 1, 8]))


def test_where_nobody_is_judged_everything_is_0() -> None:
    judged = judge({}, {1: places()}, {}, SHOP)
    assert [judged.mean(metric) for metric in METRICS] == [0.0] * len(METRICS)


def test_pictures_without_matplotlib_are_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.recommender.evaluate.find_spec", lambda name: None)
    refused = CliRunner().invoke(evaluate, ["--features-address", "localhost:1", "--plots", "pictures"])
    assert refused.exit_code == 1
    assert "plots" in refused.output


def test_a_list_counts_to_its_tenth_product() -> None:
    wide = Shop(np.ones(20), np.ones(20, dtype=np.int32))
    judged = judge({1: np.arange(20)}, {1: places(10)}, {}, wide)
    assert judged.mean("ndcg") == 0.0
    judged = judge({1: np.arange(20)}, {1: np.arange(20)}, {}, wide)
    assert judged.mean("recall") == 1.0
    assert judged.mean("ndcg") == pytest.approx(1.0)


def test_intervals_tell_a_difference_from_an_accident() -> None:
    random = np.random.default_rng(1)
    noise = random.normal(size=400)
    clear = paired_bootstrap(noise + 0.5, noise + random.normal(scale=0.1, size=400))
    assert clear.low > 0.45
    assert clear.low < clear.mean < clear.high
    nothing = paired_bootstrap(noise, random.permutation(noise))
    assert nothing.low < 0 < nothing.high


def test_never_before_leaves_out_what_is_known() -> None:
    truth = never_before({1: places(1, 2, 3), 2: places(1)}, {1: places(2), 2: places(1)})
    assert {user: own.tolist() for user, own in truth.items()} == {1: [1, 3]}


def test_baselines_recommend_by_their_own_rules() -> None:
    log, _ = shop(users=40)
    models = {name: learn() for name, learn in baselines(log, NOW).items()}
    assert set(models) == {"popular", OWN, "item kNN", "ALS", "BPR", "EASE"}
    owned = taken(log.of(PURCHASE))
    counts = np.bincount(log.of(PURCHASE).between(NOW - 28 * DAY, NOW).products, minlength=60)
    assert counts[top(models["popular"]([0])[0])[0]] == counts.max()
    for user in (0, 1):
        own = top(models[OWN]([user])[0])
        assert set(own.tolist()) <= set(owned[user].tolist())
        for name, scorer in models.items():
            fresh = lists(scorer, [user], owned)[user]
            assert not set(fresh.tolist()) & set(owned[user].tolist()), name
        # Those of one department never buy of the other: whoever learns from others stays within it.
        for name in ("item kNN", "EASE", "ALS"):
            assert (lists(models[name], [user], owned)[user][:3] % 2 == user % 2).all(), name


def test_bpr_learns_from_two_weeks_of_a_small_shop() -> None:
    log, _ = shop(users=40)
    model = baselines(log.between(NOW - 14 * DAY, NOW), NOW)["BPR"]()
    of_their_department = [(own % 2 == user % 2).mean() for user, own in lists(model, range(40), {}).items()]
    assert np.mean(of_their_department) > 0.9


@pytest.mark.parametrize("users", [25, 90])
def test_ease_scores_as_its_definition_says(users: int) -> None:
    """Of fewer shoppers than products it goes through the shoppers' Gram matrix, which must give the same."""
    log, _ = shop(users=users)
    bought = np.zeros((users, 60))
    bought[log.users, log.products] = 1.0
    inverse = np.linalg.inv(bought.T @ bought + 200.0 * np.eye(60))
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    scores = baselines(log.of(PURCHASE), NOW)["EASE"]()(range(users))
    np.testing.assert_allclose(scores, np.maximum(bought @ weights, 0.0), atol=1e-5)


def test_a_split_knows_the_past_and_the_window() -> None:
    log, _ = shop(users=20)
    task = split(log, NOW - 28 * DAY, NOW, PURCHASE)
    assert task.past.times.max() < NOW - 28 * DAY
    user = next(iter(task.wanted[NEW]))
    assert not set(task.wanted[NEW][user].tolist()) & set(task.histories[user].tolist())
    assert set(task.wanted[NEW][user].tolist()) <= set(task.wanted[ANYTHING][user].tolist())


def test_a_rehearsal_is_judged_with_its_baselines() -> None:
    log, catalogue = shop(users=60)
    progress: list[float] = []
    found = rehearse(log, catalogue, progress.append, 2)
    assert found is not None
    assert progress == sorted(progress)
    assert (len(found.lineage), progress[-1]) == (2, 1.0)
    anything = found.judged[ANYTHING]
    assert anything[SERVED].mean("ndcg") > anything["popular"].mean("ndcg")
    assert OWN not in found.judged[NEW]
    said = summary(found.judged, SERVED)
    assert set(METRICS) <= set(said[ANYTHING][SERVED])
    low, high = said[ANYTHING]["popular"]["better_by"]["ndcg"][1:]
    assert low < high
    table = text_table(found.judged, SERVED)
    assert "EASE" in table
    short, products = shop(days=3.0)
    assert rehearse(short, products, lambda share: None) is None


def test_a_shopper_of_two_windows_counts_once() -> None:
    first = judge({1: places(0), 2: places(0)}, {1: places(0), 2: places(1)}, {}, SHOP)
    second = judge({2: places(1, 2), 3: places(2)}, {2: places(1), 3: places(0)}, {}, SHOP)
    pooled = pool([{ANYTHING: {SERVED: first}}, {ANYTHING: {SERVED: second}}])[ANYTHING][SERVED]
    assert list(pooled.shoppers) == [1, 2, 3]
    np.testing.assert_allclose(pooled.values["ndcg"], [1.0, 0.5, 0.0])
    assert pooled.mean("ndcg") == pytest.approx(0.5)
    assert pooled.mean("coverage") == pytest.approx((1 / 5 + 2 / 5) / 2)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    log, _ = shop(users=20)
    task = split(log, NOW - 28 * DAY, NOW, PURCHASE)
    lists = {objective: {user: np.arange(10) for user in wanted} for objective, wanted in task.wanted.items()}
    judged = compare(task, lists, SERVED, np.ones(60, dtype=np.int32))
    files = plot(judged, SERVED, tmp_path / "plots")
    assert [file.name for file in files] == ["anything.png", "new.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
