"""Many ids are checked as each of them is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.errors import ServiceError
from services.runtime.identifiers import check_ids, is_id

IDS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_.:@-]{1,3}", fullmatch=True), st.sampled_from(["", "a\nb", "\n", "a b", "é"])
)


@given(st.lists(IDS, min_size=1, max_size=4))
def test_the_first_that_is_none_is_named(ids: list[str]) -> None:
    wrong = [place for place, value in enumerate(ids) if not is_id(value)]
    if not wrong:
        check_ids(ids, "ids")
        return
    with pytest.raises(ServiceError) as refused:
        check_ids(ids, "ids")
    assert [violation.field for violation in refused.value.violations] == [f"ids[{wrong[0]}]"]


@pytest.mark.parametrize("length", [128, 129])
def test_the_longest(length: int) -> None:
    ids = ["a", "b" * length]
    if is_id(ids[1]):
        check_ids(ids, "ids")
    else:
        with pytest.raises(ServiceError):
            check_ids(ids, "ids")
