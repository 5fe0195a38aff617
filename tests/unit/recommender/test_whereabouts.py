"""Places of a version's products in the assortment: as they are there, whatever came and went."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.whereabouts import Whereabouts
from tests.support.learned import small
from tests.support.mirrored import row

# Of which the version knows every other one.
IDS = list("abcdefgh")
VERSION = small(IDS[::2])


# One that comes back takes the place of another that left.
@example([(True, "a", False), (True, "c", True), (False, "a", False), (False, "c", False), (True, "a", True)])
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(IDS), st.booleans()), max_size=30))
def test_what_was_looked_up_is_looked_up_again_where_it_may_be_elsewhere(steps: list[tuple[bool, str, bool]]) -> None:
    assortment = Assortment(5, 5)
    where = Whereabouts(VERSION, assortment)
    for comes, id_, look in steps:
        if comes:
            assortment.put([row(id_)])
        else:
            assortment.drop(id_)
        if look:
            found, expected = where.find(IDS, VERSION.find(IDS)), assortment.find(IDS)
            here = expected >= 0
            assert found[here].tolist() == expected[here].tolist()
            # What has left may still be known by its place, where nothing is to be had.
            assert not assortment.available(found, 0.0)[~here].any()
