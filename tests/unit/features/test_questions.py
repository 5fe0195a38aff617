"""What reads ask for is checked as often as it has to be."""

from __future__ import annotations

import pytest

from services.features import definitions
from services.features.domain.events import guest
from services.features.questions import MANY, Questions
from services.runtime.errors import ServiceError

IDS = [f"p{n}" for n in range(MANY)]


def test_what_comes_again_is_the_same_question() -> None:
    questions = Questions(definitions.load())

    def ask(entity: str, said: bytes, *features: str) -> object:
        return questions.again(entity, IDS, features, lambda: said)

    first, second, third = (ask("Product", b"p", "product_rating") for _ in range(3))
    assert first == second == questions.batch("Product", IDS, ["product_rating"])
    assert second is third
    visitors = questions.again("Visitor", IDS, (), lambda: b"v")
    assert (visitors.entity.name, visitors.subjects) == ("User", tuple(map(guest, IDS)))


def test_few_ids_are_not_remembered() -> None:
    questions = Questions(definitions.load())

    def said() -> bytes:
        raise AssertionError("nobody wants to know")

    for _ in range(3):
        assert questions.again("Product", IDS[1:], (), said).subjects == tuple(IDS[1:])


@pytest.mark.parametrize(
    ("entity", "ids", "features", "reason"),
    [
        ("Shop", IDS, (), "ENTITY_TYPE_NOT_FOUND"),
        ("Product", IDS, ("product_height",), "FEATURE_NOT_FOUND"),
        ("Product", [*IDS, "a b"], (), "INVALID_ID"),
        ("Product", [], (), "INVALID_ARGUMENT"),
        ("Product", ["p"] * 1_001, (), "INVALID_ARGUMENT"),
    ],
)
def test_what_is_wrong_is_wrong_each_time(entity: str, ids: list[str], features: tuple[str, ...], reason: str) -> None:
    questions = Questions(definitions.load())
    for _ in range(3):
        with pytest.raises(ServiceError) as refused:
            questions.again(entity, ids, features, lambda: b"same")
        assert refused.value.reason == reason
