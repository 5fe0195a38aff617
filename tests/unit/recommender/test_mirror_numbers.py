"""Numbers of the catalogue in memory: stocks, copied scores, and those that tell whether anything changed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from services.recommender.domain.change import ProductChange
from services.recommender.ranking_ports import ProductScores
from tests.support.mirrored import Catalogue, mirrored, product, row
from tests.support.waiting import eventually


def scores(ids: list[str], popularity: list[float], trend: list[float], rating: list[float]) -> ProductScores:
    return ProductScores(ids, np.array(popularity), np.array(trend), np.array(rating))


@pytest.mark.parametrize("first", [True, False])
async def test_what_is_being_read_when_it_is_sold_out_stays_sold_out(first: bool) -> None:
    """In the first pass as well."""
    a = row("a", change_seq=1)
    catalogue = Catalogue(a)
    told: list[bool] = []

    def sell() -> None:
        catalogue.rows_by_id["a"] = a._replace(available_quantity=0, change_seq=3)
        mirror.counted("a", 0)
        # By then it would have been taken as it was before.
        catalogue.meanwhile = lambda: told.append(mirror.assortment.is_available("a", 0.0))

    if first:
        catalogue.meanwhile = sell
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        if not first:
            catalogue.meanwhile = sell
            mirror.followed(ProductChange(2, "a", deleted=False, available_quantity=7))
        await eventually(lambda: mirror.assortment.version("a") == 3)
        assert mirror.assortment.sold_out("a")
        assert told == [False]


@pytest.mark.parametrize("missing", [math.nan, 3.0])
async def test_copied_scores_are_taken_where_there_are_any(missing: float) -> None:
    async with mirrored(Catalogue(row("a"), row("b"))) as mirror:
        await eventually(lambda: mirror.complete)
        mirror.scored(scores(["a", "unknown"], [missing, 1.0], [math.nan, 1.0], [4.5, 1.0]))
        places = mirror.assortment.find(["a", "b"])
        assert mirror.assortment.popularity[places].tolist() == [50.0 if math.isnan(missing) else missing, 50.0]
        assert mirror.assortment.rating[places][0] == 4.5


async def test_only_scores_that_are_not_known_to_be_stored_are_worth_storing() -> None:
    catalogue = Catalogue(row("a"), row("b"), row("another category's", trend=None), row("never", popularity=None))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        ids = ["a", "another category's", "b", "never", "unknown"]
        same = scores(ids, [50.0] * 5, [2.0] * 5, [math.nan] * 5)
        assert mirror.unlike(same).ids == ["another category's", "never", "unknown"]
        mirror.scored(mirror.unlike(same))
        assert mirror.unlike(same).ids == ["unknown"]
        moved = scores(["a", "b"], [50.0, 50.5], [2.0, 2.0], [4.0, math.nan])
        assert mirror.unlike(moved).ids == ["a", "b"]
        decayed = scores(["a", "b"], [49.97, 49.94], [2.0, 2.0], [math.nan] * 2)
        assert mirror.unlike(decayed).ids == ["b"]
        mirror.scored(scores(["a"], [0.04], [2.0], [math.nan]))
        assert mirror.unlike(scores(["a"], [0.0], [2.0], [math.nan])).ids == ["a"], "it is popular no more"
        mirror.scored(scores(["a"], [50.0], [2.0], [math.nan]))
        assert mirror.unlike(scores(["a"], [50.0], [3.0], [math.nan])).ids == ["a"]


async def test_a_number_tells_whether_anything_changed() -> None:
    catalogue = Catalogue(row("a"), row("b"))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)

        async def told(change: Callable[[], None]) -> str:
            """What rose: the generation, that of the product alone, that of the last to come, prices."""
            here = mirror.assortment
            place, other = here.find(["a", "b"])
            before, others = here.generation, here.changed[other]
            came, priced = here.came, here.priced
            change()
            await eventually(lambda: mirror.settled and not mirror.unsure(["a", "b"]))
            assert (here.generation > before) == (max(here.changed[place], here.changed[other]) > before)
            rose = {"changed": here.changed[place] > before, "other": here.changed[other] > others}
            rose |= {"came": here.came > came, "priced": here.priced > priced}
            return " ".join(name for name, true in rose.items() if true)

        def becomes(**other: object) -> Callable[[], None]:
            def change() -> None:
                catalogue.rows_by_id["a"] = catalogue.rows_by_id["a"]._replace(**other)  # type: ignore[arg-type]  # each value has its field's type
                mirror.changed(product("a"))

            return change

        assert await told(becomes()) == ""
        assert await told(becomes(available_quantity=6, popularity=3.0)) == ""
        assert await told(becomes(available_quantity=0)) == "changed"
        catalogue.rows_by_id["a"] = catalogue.rows_by_id["a"]._replace(available_quantity=3)
        assert await told(lambda: mirror.counted("a", 3)) == "changed came"
        assert await told(becomes(available_quantity=3, title="Another")) == "changed"
        assert await told(becomes(text_digest=b"another")) == "changed came"
        assert await told(becomes(price=None)) == "priced"
        assert await told(becomes(expire_time=1e12)) == "changed came"
        del catalogue.rows_by_id["b"]
        assert await told(lambda: mirror.deleted("b")) == "other priced"
