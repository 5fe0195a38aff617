"""Which answers of the documented URLs let the ready line out."""

import pytest

from deploy.local.demo import is_real
from deploy.local.probes import Answer


def features(*statuses: str, degraded: tuple[str, ...] = ()) -> dict[str, object]:
    metadata = {f"feature_{number}": {"status": status} for number, status in enumerate(statuses)}
    return {"features": dict.fromkeys(metadata, 1), "metadata": metadata, "degraded": list(degraded)}


@pytest.mark.parametrize("statuses", [("PRESENT", "PRESENT"), ("STALE", "PRESENT")])
def test_values_from_evidence_are_real(statuses: tuple[str, ...]) -> None:
    assert is_real(Answer(200, features(*statuses)), fresh=True)
    assert is_real(Answer(200, features(*statuses)), fresh=False)


@pytest.mark.parametrize("statuses", [("NULL", "PRESENT"), ("NULL", "DEFAULT")])
def test_no_evidence_is_the_truth_in_an_old_shop_but_not_right_after_a_load(statuses: tuple[str, ...]) -> None:
    assert is_real(Answer(200, features(*statuses)), fresh=False)
    assert not is_real(Answer(200, features(*statuses)), fresh=True)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(0),
        Answer(404, {"reason": "ENTITY_NOT_FOUND"}),
        Answer(503, features("PRESENT")),
        Answer(200, "a page"),
        Answer(200, {}),
        Answer(200, features("PRESENT", "UNAVAILABLE")),
        Answer(200, features("PRESENT", degraded=("online-store",))),
    ],
)
def test_anything_else_is_not(answer: Answer, fresh: bool) -> None:
    assert not is_real(answer, fresh=fresh)
