"""What a kept folder remembers, and how a larger shop begins with a smaller one."""

import errno
import shutil
import socket
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from windowshop.recommender.v1 import recommendation_pb2 as r

from bench import kept_shop, loading
from bench.kept_shop import NOTE, _copy, _place, _temporary
from bench.loading import Kept, Sizes
from deploy.local.folder import locked

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


def _kept(folder: Path) -> Path:
    place = _place(folder, SMALL)
    Kept.of(place / NOTE, SMALL).done("events", {"events": 7})
    (place / "data").mkdir()
    (place / "postgres").mkdir()
    return place


def _full_disk(_: Path, copy: Path, **__: object) -> None:
    copy.mkdir()
    (copy / "half").touch()
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_larger_shop_begins_with_a_copy(tmp_path: Path) -> None:
    kept = Kept.of(_kept(tmp_path) / NOTE, SMALL)
    kept.done("text neighbours", {})  # of another catalogue
    place = _place(tmp_path, LARGE)
    assert place.name == "1000000x50"
    assert Kept.of(place / NOTE, LARGE).steps == {"events": {"events": 7}}
    assert Kept.of(tmp_path / SMALL.name / NOTE, SMALL).steps


def test_a_run_leaves_nothing_in_the_shop_that_is_kept(tmp_path: Path) -> None:
    place = _kept(tmp_path)
    with _copy(place) as copy:
        assert Kept.of(copy / NOTE, SMALL).steps == {"events": {"events": 7}}
        (copy / "views").touch()
    assert not copy.exists()
    assert not (place / "views").exists()


def test_a_copy_that_was_left_is_not_run_again(tmp_path: Path) -> None:
    place = _kept(tmp_path)
    left = tmp_path / f"{place.name}.running"
    (left / "data").mkdir(parents=True)
    (left / "views").touch()
    with _copy(place) as copy:
        assert copy == left
        assert not (copy / "views").exists()


def test_a_copy_of_a_run_under_way_is_left_alone(tmp_path: Path) -> None:
    place = _kept(tmp_path)
    with _copy(place) as copy:
        # Its shop has not locked it yet: a big one starts for some seconds.
        with pytest.raises(click.ClickException, match="in use"), _copy(place):
            pass
        assert copy.exists()


def test_a_copy_whose_shop_outlives_its_run_is_left_alone(tmp_path: Path) -> None:
    place = _kept(tmp_path)
    left = tmp_path / f"{place.name}.running"
    with locked(left / "data"):
        with pytest.raises(click.ClickException, match="in use"), _copy(place):
            pass
        assert left.exists()


def test_a_copy_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = _kept(tmp_path)
    monkeypatch.setattr(shutil, "copytree", _full_disk)
    with pytest.raises(click.ClickException, match="No space left"), _copy(place):
        pass
    with pytest.raises(click.ClickException, match="No space left"):
        _place(tmp_path, LARGE)
    assert [path.name for path in tmp_path.iterdir()] == [place.name], "half of a copy would be taken for a shop"


def test_a_shop_whose_server_was_killed_once_can_be_copied(tmp_path: Path) -> None:
    place = _kept(tmp_path)
    with socket.socket(socket.AF_UNIX) as one, chdir(place):  # the whole path may be too long for one
        one.bind(".s.PGSQL.1")
    with _copy(place) as copy:
        assert (copy / NOTE).exists()


def test_a_copy_belongs_to_those_who_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owned: list[tuple[Path, bool]] = []
    owner = SimpleNamespace(own=lambda folder: owned.append((folder, folder.is_dir())))
    monkeypatch.setattr(kept_shop, "unprivileged", lambda: owner)
    with _copy(_kept(tmp_path)) as copy:
        assert owned == [(copy / "postgres", True)]


def test_a_shop_is_whole_when_all_is_done(tmp_path: Path) -> None:
    kept, large = Kept.of(tmp_path / "small", SMALL), Kept.of(tmp_path / "large", LARGE)
    for step in ("products", "events", "training", "text neighbours"):
        assert not kept.whole
        kept.done(step, {})
        large.done(step, {})
    assert kept.whole
    assert not large.whole
    large.done("text index", {})
    assert large.whole


def test_a_shop_without_a_folder_leaves_nothing() -> None:
    with _temporary() as place:
        assert place.is_dir()
    assert not place.exists()


def test_only_what_outgrows_the_usual_buffers_gets_more() -> None:
    assert SMALL.shared_buffers is None
    assert LARGE.shared_buffers is not None


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
