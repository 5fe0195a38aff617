"""Which version serves: loaded first, whole, and never half of one and half of another."""

from __future__ import annotations

import asyncio
import io
import threading
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest

from services.recommender.domain import learned, ranker
from services.recommender.domain.learned import Learned
from services.recommender.domain.ranker_features import FEATURES
from services.recommender.domain.version import Version
from services.recommender.pipeline.active_model import ActiveModel
from services.recommender.ranking_ports import ModelVersion
from services.runtime.errors import unavailable
from tests.support.learned import ranker as linear
from tests.support.learned import small

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Store:
    """Versions in memory."""

    def __init__(self) -> None:
        self.versions: dict[str, tuple[ModelVersion, dict[str, bytes]]] = {}
        self.serving = ""
        self.down = False
        self.loads: list[str] = []

    def put(self, model_id: str, products: float = 2.0, **artifacts: bytes) -> None:
        model = ModelVersion(model_id, "READY", NOW, NOW, 1.0, {"products": products}, "")
        self.versions[model_id] = (model, artifacts)

    async def active(self) -> ModelVersion | None:
        if self.down:
            raise unavailable("DATABASE_UNAVAILABLE", "it is down")
        return self.versions[self.serving][0] if self.serving else None

    async def get(self, model_id: str) -> ModelVersion | None:
        found = self.versions.get(model_id)
        return found[0] if found else None

    async def artifacts(self, model_id: str) -> dict[str, bytes]:
        self.loads.append(model_id)
        # As long as others may take their turn: a version is never half there.
        await asyncio.sleep(0)
        return self.versions[model_id][1] if model_id in self.versions else {}


KNOWLEDGE = learned.encode(small(["a", "b"]))


@pytest.fixture
def store() -> Store:
    store = Store()
    store.put("v-1", learned=KNOWLEDGE, ranker_anything=ranker.encode(linear(own=2.0)))
    store.put("v-2", learned=learned.encode(small(["a", "c"])), ranker_new=ranker.encode(linear(taste=1.0)))
    return store


def following(store: Store) -> tuple[ActiveModel, list[Learned]]:
    prepared: list[Learned] = []

    async def ready(knowledge: Learned) -> None:
        prepared.append(knowledge)

    return ActiveModel(store, ready), prepared  # type: ignore[arg-type]  # the methods that matter


async def test_a_version_is_loaded_and_made_ready_before_it_serves(store: Store) -> None:
    model, prepared = following(store)
    assert model.version == Version()
    store.serving = "v-1"
    await model.refresh()
    version = model.version
    assert (version.id, list(version.rankers), version.whole) == ("v-1", ["anything"], True)
    assert version.learned is prepared[0]
    await model.refresh()
    assert store.loads == ["v-1"], "once"


async def test_a_request_keeps_the_version_it_began_with(store: Store) -> None:
    model, _ = following(store)
    store.serving = "v-1"
    await model.refresh()
    of_a_request = model.version
    store.serving = "v-2"
    loading = asyncio.create_task(model.refresh())
    seen = set()
    while not loading.done():
        version = model.version
        assert version.learned is not None
        seen.add((version.id, version.learned.ids, *version.rankers))
        await asyncio.sleep(0)
    await loading
    assert model.version.id == "v-2"
    assert seen <= {("v-1", ("a", "b"), "anything"), ("v-2", ("a", "c"), "never_bought")}
    del store.versions["v-1"]
    assert of_a_request.learned is not None
    assert (of_a_request.id, of_a_request.learned.ids) == ("v-1", ("a", "b"))


async def test_what_is_prepared_serves_at_once_and_is_not_loaded_again(store: Store) -> None:
    model, _ = following(store)
    await model.prepare("v-2")
    await model.prepare("nothing")
    assert model.version.id == ""
    model.switch("v-2")
    assert model.version.id == "v-2"
    store.serving = "v-2"
    await model.refresh()
    assert store.loads == ["v-2"]


async def test_what_is_not_prepared_is_loaded_by_the_follower(store: Store) -> None:
    model, _ = following(store)
    task = asyncio.create_task(model.follow())
    try:
        store.serving = "v-1"
        model.switch("v-1")
        async with asyncio.timeout(5):
            while model.version.id != "v-1":
                await asyncio.sleep(0.01)  # polled: there is nothing to wait on
    finally:
        task.cancel()


async def test_a_version_that_cannot_be_read_serves_without_what_it_learned(store: Store) -> None:
    model, prepared = following(store)
    for name, blob in (("v-3", b"no archive"), ("v-4", KNOWLEDGE[:50]), ("v-5", b"")):
        store.put(name, learned=blob)
        store.serving = name
        await model.refresh()
        assert model.version == Version(name, broken=True, whole=False)
    store.put("v-6")
    store.serving = "v-6"
    await model.refresh()
    assert model.version == Version("v-6", whole=False)
    assert prepared == []


async def test_a_version_that_could_not_be_read_is_tried_again_after_a_minute(store: Store) -> None:
    now = 1_000.0

    async def ready(_: Learned) -> None:
        """At once."""

    model = ActiveModel(store, ready, lambda: now)  # type: ignore[arg-type]  # the methods that matter
    store.put("v-3", learned=b"no archive")
    store.serving = "v-3"
    await model.refresh()
    store.put("v-3", learned=KNOWLEDGE)
    now += 59.0
    await model.refresh()
    assert model.version.broken
    now += 1.0
    await model.refresh()
    assert (model.version.id, model.version.broken, model.version.learned is None) == ("v-3", False, False)
    now += 1_000.0
    await model.refresh()
    assert store.loads == ["v-3", "v-3"], "not again what was read"


async def test_a_ranker_of_other_features_is_left_out(store: Store) -> None:
    other = ranker.encode(linear(("price", "colour"), price=1.0))
    store.put("v-7", learned=KNOWLEDGE, ranker_anything=other, ranker_new=ranker.encode(linear(own=1.0)))
    model, _ = following(store)
    store.serving = "v-7"
    await model.refresh()
    assert list(model.version.rankers) == ["never_bought"]


# What rankers and versions had first.
EARLIER = tuple(name for name in sorted(FEATURES) if name not in ("rating", "daypart_lift", "device_lift"))


async def test_a_version_that_was_trained_before_there_were_all_columns_goes_on(store: Store) -> None:
    matrix = np.random.default_rng(0).normal(size=(50, len(FEATURES))).astype(np.float32)
    earlier = matrix[:, [FEATURES.index(name) for name in EARLIER]]
    linear_one = linear(EARLIER, own=2.0, price=-0.5)
    own, price = EARLIER.index("own"), EARLIER.index("price")
    forest = ranker.decode(changed(FOREST, features=np.array(EARLIER), feature=np.array([price, own, own])))
    store.put(
        "v-0",
        learned=without(KNOWLEDGE, "column_rating", "dayparts", "devices", "device_names"),
        ranker_anything=ranker.encode(linear_one),
        ranker_new=ranker.encode(forest),
    )
    model, _ = following(store)
    store.serving = "v-0"
    await model.refresh()
    knowledge, rankers = model.version.learned, model.version.rankers
    assert knowledge is not None
    assert not knowledge.columns["rating"].any()
    assert not knowledge.habits.dayparts.any()
    for before, now in ((linear_one, rankers["anything"]), (forest, rankers["never_bought"])):
        assert now.score(matrix).tolist() == pytest.approx(before.score(earlier).tolist())
        assert now.contributions(matrix).sum(axis=1).tolist() == pytest.approx(now.score(matrix).tolist())
        assert ranker.reading(ranker.decode(ranker.encode(now)), FEATURES) is not None  # type: ignore[arg-type]  # one of the two


async def test_a_version_that_lacks_what_each_had_cannot_be_read(store: Store) -> None:
    model, _ = following(store)
    for number, name in enumerate(("column_buyers", "devices", "gram")):
        store.put(f"v-{number}", learned=without(KNOWLEDGE, name))
        store.serving = f"v-{number}"
        await model.refresh()
        assert model.version == Version(f"v-{number}", broken=True, whole=False)


async def test_a_version_with_more_products_than_memory_holds_is_not_whole(store: Store) -> None:
    store.put("v-8", products=3.0, learned=KNOWLEDGE)
    model, _ = following(store)
    store.serving = "v-8"
    await model.refresh()
    assert not model.version.whole


async def test_without_the_store_the_version_stays_and_without_a_version_there_is_none(store: Store) -> None:
    model, _ = following(store)
    store.serving = "v-1"
    await model.refresh()
    store.down = True
    with pytest.raises(Exception, match="down"):
        await model.refresh()
    assert model.version.id == "v-1"
    store.down, store.serving = False, ""
    await model.refresh()
    assert model.version == Version()


def changed(blob: bytes, **arrays: object) -> bytes:
    with np.load(io.BytesIO(blob)) as before:
        file = io.BytesIO()
        np.savez(file, **{**before, **arrays})
        return file.getvalue()


def without(blob: bytes, *names: str) -> bytes:
    with np.load(io.BytesIO(blob)) as before:
        file = io.BytesIO()
        np.savez(file, **{name: before[name] for name in before.files if name not in names})
        return file.getvalue()


FOREST = ranker.encode(
    ranker.Forest(
        features=FEATURES,
        roots=np.array([0]),
        feature=np.array([1, 0, 0]),
        threshold=np.array([0.5, np.inf, np.inf]),
        left=np.array([1, 1, 2]),
        value=np.array([0.0, -1.0, 1.0]),
        depth=1,
    )
)
LOGISTIC = ranker.encode(linear(own=2.0))


def test_rankers_and_knowledge_that_are_sound_are_read() -> None:
    assert ranker.decode(FOREST).score(np.eye(2, len(FEATURES), dtype=np.float32)).tolist() == [-1.0, 1.0]
    assert len(ranker.decode(LOGISTIC).features) == len(FEATURES)
    assert len(learned.decode(KNOWLEDGE)) == 2


@pytest.mark.parametrize(
    "blob",
    [
        changed(FOREST, left=np.array([2, 1, 2])),
        changed(FOREST, left=np.array([-1, 1, 2])),
        changed(FOREST, roots=np.array([3])),
        changed(FOREST, feature=np.array([len(FEATURES), 0, 0])),
        changed(FOREST, value=np.array([0.0, np.nan, 1.0])),
        changed(FOREST, value=np.array([0.0, 1.0])),
        changed(LOGISTIC, weights=np.zeros(3)),
        changed(LOGISTIC, scale=np.zeros(len(FEATURES))),
        changed(LOGISTIC, intercept=np.array(np.nan)),
    ],
)
async def test_a_ranker_that_would_fail_in_the_middle_of_a_page_does_not_serve(store: Store, blob: bytes) -> None:
    store.put("v-9", learned=KNOWLEDGE, ranker_anything=blob)
    model, _ = following(store)
    store.serving = "v-9"
    await model.refresh()
    assert model.version == Version("v-9", broken=True, whole=False)


@pytest.mark.parametrize(
    "arrays",
    [
        {"near_places_taste": np.array([[1], [2]], dtype=np.int32)},
        {"near_places_taste": np.array([[1], [-2]], dtype=np.int32)},
        {"near_weights_alike": np.zeros((2, 2), dtype=np.float16)},
        {"column_buyers": np.zeros(3, dtype=np.float32)},
        {"group_kind": np.zeros(1, dtype=np.int32)},
        {"vectors": np.zeros((3, 4), dtype=np.float32)},
        {"vectors": np.full((2, 4), np.nan, dtype=np.float32)},
        {"gram": np.zeros((3, 3))},
    ],
)
async def test_knowledge_that_does_not_fit_together_does_not_serve(
    store: Store, arrays: dict[str, npt.NDArray[np.generic]]
) -> None:
    store.put("v-9", learned=changed(KNOWLEDGE, **arrays))
    model, _ = following(store)
    store.serving = "v-9"
    await model.refresh()
    assert model.version == Version("v-9", broken=True, whole=False)


async def test_a_version_is_decoded_beside_the_event_loop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tens of megabytes take seconds: requests are answered meanwhile."""
    decode, threads = learned.decode, list[int]()

    def noted(content: bytes) -> Learned:
        threads.append(threading.get_ident())
        return decode(content)

    monkeypatch.setattr(learned, "decode", noted)
    model, _ = following(store)
    await model.prepare("v-2")
    store.serving = "v-1"
    await model.refresh()
    assert len(threads) == 2
    assert threading.get_ident() not in threads
