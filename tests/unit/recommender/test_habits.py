"""Time of day, device and stars: learned where they matter, and there worth something; nothing where they do not."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from windowshop.recommender.v1 import recommendation_pb2 as pb

from services.recommender.domain.learned import Codes
from services.recommender.domain.moments import DAYPARTS, Habits, Moment, daypart_of, without_habits
from services.recommender.domain.personal import personal
from services.recommender.domain.ranker_features import FEATURES, assemble
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.signals import UserSignals
from services.recommender.domain.state import ShopperState
from services.recommender.domain.version import Version
from services.recommender.pipeline.context import Degraded
from services.recommender.pipeline.seeing import see
from services.recommender.servicer import recommendation
from services.recommender.training.learning import gate
from services.recommender.training.learning.columns import product_columns
from services.recommender.training.learning.fitting import fit_logistic
from services.recommender.training.learning.habits import habits
from services.recommender.training.learning.log import DAY, PURCHASE, Log, Ratings
from services.recommender.training.learning.rows import Case, Window, cases, sample
from services.recommender.training.learning.truth import first_moments
from services.recommender.training.learning.version import learn
from tests.support.shoplog import NOW, shop

PRODUCTS, USERS, DEVICES = 60, 120, ("app", "web")
WINDOWS = [Window(NOW - (number + 1) * 28 * DAY, NOW - number * 28 * DAY) for number in range(4)]
_, CATALOGUE = shop(products=PRODUCTS)


@cache
def moody() -> Log:
    """Every second product is wanted on one of two devices, every second pair of them at night or by day; the better
    ones more, under fashions that change every four weeks. A visit's device and hour are chance."""
    random = np.random.default_rng(11)
    number = np.arange(PRODUCTS)
    stars_of = random.permutation(np.linspace(1, 5, PRODUCTS))
    fashions = np.exp(random.normal(0, 2.0, (7, PRODUCTS)))
    rows, stars, order = [], [], 0
    for user in range(USERS):
        time = NOW - random.uniform(150, 180) * DAY
        while time < NOW:
            order += 1
            device = int(random.integers(2))
            night = int(daypart_of(np.array([time]))[0]) < DAYPARTS // 2
            wanted = np.where(number % 2 == device, 5.0, 1.0) * np.where(number // 2 % 2 == night, 5.0, 1.0)
            wanted *= np.exp(1.5 * (stars_of - 3.0)) * fashions[int((NOW - time) // (28 * DAY))]
            for product in np.sort(random.choice(PRODUCTS, 4, replace=False, p=wanted / wanted.sum())).tolist():
                rows.append((time, user, product, order, device))
            time += float(random.uniform(10, 25)) * DAY
    for product in range(PRODUCTS):
        for step in range(12):
            given = float(np.clip(np.round(random.normal(stars_of[product], 0.7)), 1, 5))
            stars.append((NOW - (170 - step) * DAY, int(random.integers(USERS)), product, given))
    rows.sort()
    stars.sort()
    times, users, products, events, devices = (np.array(column) for column in zip(*rows, strict=True))
    when, raters, rated, given_stars = (np.array(column) for column in zip(*stars, strict=True))
    return Log(
        [f"p{product:03d}" for product in range(PRODUCTS)],
        USERS,
        users.astype(np.int32),
        products.astype(np.int32),
        np.full(len(rows), PURCHASE, dtype=np.int8),
        times,
        events.astype(np.int64),
        devices.astype(np.int8),
        DEVICES,
        Ratings(raters.astype(np.int32), rated.astype(np.int32), given_stars, when),
    )


@cache
def found() -> list[list[Case]]:
    """The cases of each window, the newest first."""
    log = moody()
    return [list(cases(log, learn(log, window.start, CATALOGUE), window, (PURCHASE,), 0)) for window in WINDOWS]


def blind(case: Case, *columns: str) -> Case:
    matrix = case.matrix.copy()
    matrix[:, [FEATURES.index(column) for column in columns]] = 0.0
    return dataclasses.replace(case, matrix=matrix)


@cache
def quality(*hidden: str) -> npt.NDArray[np.float64]:
    """nDCG@10 of each case of the newest window, ordered by what the others teach without the hidden columns."""
    newest, *older = ([blind(case, *hidden) for case in window] for window in found())
    ranker = fit_logistic(sample([case for window in older for case in window], 15_000, 1), FEATURES)
    return gate.ndcg(newest, lambda case: ranker.score(case.matrix))


@pytest.mark.parametrize("column", ["daypart_lift", "device_lift", "rating"])
def test_a_shop_where_it_matters_is_ranked_better_by_it(column: str) -> None:
    difference = gate.compare(quality(), quality(column))
    assert difference.mean > 3 * difference.error, difference


def test_habits_are_those_of_the_truth() -> None:
    log = moody()
    known = habits(log, CATALOGUE.groups["kind"])
    assert known.device_names == DEVICES
    number = np.arange(PRODUCTS)
    own, other = known.devices[number, number % 2], known.devices[number, 1 - number % 2]
    assert (own > 0).all()
    assert (other < 0).all()
    assert own.mean() > 0.3
    assert not known.devices[:, -1].any(), "nothing is said of an unknown device"
    assert not known.devices[-1].any(), "nothing is said of an unknown product"
    assert not known.dayparts[:, -1].any()


def test_what_differs_by_chance_alone_is_no_habit() -> None:
    log = moody()
    random = np.random.default_rng(5)
    # Whole orders change their device and hour.
    device, hour = random.integers(0, 2, len(log)), random.uniform(0, DAY, len(log))
    by_chance = dataclasses.replace(
        log, devices=device[log.events].astype(np.int8), times=np.floor(log.times / DAY) * DAY + hour[log.events]
    )
    known = habits(by_chance, CATALOGUE.groups["kind"])
    assert not known.devices.any()
    assert not known.dayparts.any()


@pytest.mark.parametrize("devices", [(), DEVICES])
def test_a_log_without_devices_or_rows_has_no_habits(devices: tuple[str, ...]) -> None:
    log = dataclasses.replace(moody(), devices=np.zeros(0, np.int8), device_names=devices)
    assert not habits(log, CATALOGUE.groups["kind"]).devices.any()
    nothing = habits(log.pick(slice(0, 0)), CATALOGUE.groups["kind"])
    assert nothing.fits(PRODUCTS + 1)
    assert not nothing.dayparts.any()


def test_a_case_has_the_moment_of_the_first_thing_taken() -> None:
    log = moody().between(WINDOWS[0].start, WINDOWS[0].end)
    moments = first_moments(log)
    assert moments.keys() == set(log.users.tolist())
    for user, moment in moments.items():
        first = int(np.flatnonzero(log.users == user)[0])
        assert moment == Moment.at(float(log.times[first]), DEVICES[log.devices[first]])
    assert {moment.device for moment in moments.values()} == set(DEVICES)
    nowhere = dataclasses.replace(log, devices=np.full(len(log), -1, dtype=np.int8))
    assert {moment.device for moment in first_moments(nowhere).values()} == {""}


def test_a_row_says_how_much_product_and_moment_go_together() -> None:
    known = learn(moody(), NOW, CATALOGUE)
    places = np.arange(-1, PRODUCTS)
    columns = [FEATURES.index("daypart_lift"), FEATURES.index("device_lift")]

    def lifts(moment: Moment) -> npt.NDArray[np.float32]:
        return assemble(personal(known, ShopperState(), moment), places)[:, columns]

    rows = lifts(Moment(0, "web"))
    np.testing.assert_array_equal(rows[:, 0], known.habits.dayparts[places, 0])
    np.testing.assert_array_equal(rows[:, 1], known.habits.devices[places, 1])
    assert rows[1:].all()
    assert not rows[0].any()
    assert not lifts(Moment(-1, "fridge")).any()
    assert not lifts(Moment()).any()


def test_ratings_are_as_the_newest_of_each_shopper_and_few_say_little() -> None:
    log = moody().pick(slice(0, 100))
    given = [(0, 1.0, 1.0), (0, 5.0, 2.0), (1, 5.0, 3.0)]  # of product 0: user, stars, time; the first one is replaced
    given += [(user, 2.0, 4.0) for user in range(2)]  # of product 1
    ratings = Ratings(
        np.array([user for user, _, _ in given], dtype=np.int32),
        np.array([0, 0, 0, 1, 1], dtype=np.int32),
        np.array([stars for _, stars, _ in given]),
        np.array([time for _, _, time in given]),
    )
    columns = product_columns(dataclasses.replace(log, ratings=ratings), NOW, CATALOGUE)["rating"]
    # Mean 3.5; two ratings beside five like the mean.
    np.testing.assert_allclose(columns[:3], [2 * 1.5 / 7, -2 * 1.5 / 7, 0.0])


def test_a_version_has_habits_of_its_own_products() -> None:
    none: Codes = np.zeros(3, dtype=np.int32)
    assert habits(moody().pick(slice(0, 0)), none).fits(PRODUCTS + 1)
    assert without_habits(2).fits(3)
    assert not Habits(np.zeros((3, DAYPARTS + 1), np.float32), ("app",), np.zeros((3, 1), np.float32)).fits(3)


def test_a_request_brings_its_moment() -> None:
    ask = recommendation._read(pb.RecommendRequest(device="app"))
    config = ServingConfig("test", (), objective="anything")
    version = Version("v", learn(moody(), NOW, CATALOGUE))
    person = see(config, version, UserSignals(), 6 * 3_600.0, Degraded(), ask.device)
    assert person is not None
    assert person.moment == Moment(1, "app")
