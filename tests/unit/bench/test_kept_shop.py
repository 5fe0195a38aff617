"""What a kept folder remembers, and how a larger shop begins with a smaller one."""

from pathlib import Path

import click
import pytest
from windowshop.recommender.v1 import recommendation_pb2 as r

from bench import loading
from bench.kept_shop import NOTE, _place
from bench.loading import Kept, Sizes

SMALL, LARGE = Sizes(100_000, 50), Sizes(1_000_000, 50)


def test_steps_are_remembered(tmp_path: Path) -> None:
    first = Kept.of(tmp_path / NOTE, SMALL)
    assert first.steps == {}
    first.done("products", {"seconds": 3.0})
    again = Kept.of(tmp_path / NOTE, SMALL)
    assert (again.steps, again.now) == ({"products": {"seconds": 3.0}}, first.now)


def test_another_shop_is_refused(tmp_path: Path) -> None:
    Kept.of(tmp_path / NOTE, SMALL).done("products", {})
    with pytest.raises(click.ClickException, match="another shop"):
        Kept.of(tmp_path / NOTE, LARGE)


def test_a_larger_shop_begins_with_a_copy(tmp_path: Path) -> None:
    with _place(tmp_path, SMALL) as place:
        Kept.of(place / NOTE, SMALL).done("events", {"events": 7})
        (place / "data").mkdir()
    with _place(tmp_path, LARGE) as place:
        assert place.name == "1000000x50"
        assert Kept.of(place / NOTE, LARGE).steps == {"events": {"events": 7}}
    assert Kept.of(tmp_path / SMALL.name / NOTE, SMALL).steps


def test_a_shop_without_a_folder_leaves_nothing() -> None:
    with _place(None, SMALL) as place:
        assert place.is_dir()
    assert not place.exists()


def test_only_what_outgrows_the_usual_buffers_gets_more() -> None:
    assert SMALL.shared_buffers == "256MB"
    assert LARGE.shared_buffers != SMALL.shared_buffers


class Answering:
    """In the place of a client: the same answer each time."""

    def __init__(self, *degraded: str) -> None:
        self._answer = r.RecommendResponse(degraded=degraded)

    async def recommend(self, request: r.RecommendRequest, timeout: float) -> r.RecommendResponse:
        return self._answer


async def test_a_version_that_this_code_cannot_load_is_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_WHOLE_SECONDS", 0.01)
    assert await loading._ranked(Answering("model")) is False  # type: ignore[arg-type] # what it is asked for
    with pytest.raises(click.ClickException, match="features, model missing"):
        await loading._ranked(Answering("features", "model"))  # type: ignore[arg-type] # as above
