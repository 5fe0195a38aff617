"""What is asked for again is remembered, within bounds."""

from services.runtime.generations import Generations, Repeated


def look(known: Generations[str, int, str], key: int, now: float = 0.0, cost: int = 1) -> bool:
    """Whether it was known; it is kept by then."""
    young = known.young("s", now)
    if key in young:
        return True
    old = known.old("s", key)
    known.keep("s", key, f"v{key}", cost)
    return old is not None


def test_what_is_asked_for_again_outlives_generations() -> None:
    known: Generations[str, int, str] = Generations(1_000, 100.0)
    assert not look(known, 1)
    for step in range(1, 20):
        assert look(known, 1, step * 60.0)


def test_what_nobody_asks_for_goes_with_its_generation() -> None:
    known: Generations[str, int, str] = Generations(1_000, 100.0)
    look(known, 1)
    look(known, 2, 110.0)
    assert known.old("s", 1) == "v1"
    look(known, 2, 220.0)
    assert known.old("s", 1) is None
    assert not look(known, 1, 230.0)


def test_a_generation_has_its_room_and_sections_cost_too() -> None:
    known: Generations[str, int, str] = Generations(1_000, 1e9)
    for key in range(500):
        look(known, key, cost=100)
        assert len(known.young("s", 0.0)) <= 11
    for section in range(500):
        known.young(f"s{section}", 0.0)
        assert len(known) <= 8


def test_a_clock_that_was_put_back_ends_a_generation() -> None:
    known: Generations[str, int, str] = Generations(1_000, 100.0)
    look(known, 1, 500.0)
    assert known.young("s", 10.0) == {}
    assert known.old("s", 1) == "v1"


def test_what_is_dropped_is_gone_from_both() -> None:
    known: Generations[str, int, str] = Generations(1_000, 100.0)
    known.drop("s", 1)
    look(known, 1)
    look(known, 2, 110.0)
    known.drop("s", 1)
    known.drop("s", 2)
    assert not look(known, 1, 120.0)
    assert not look(known, 2, 120.0)


def again(known: Repeated[str, str], key: str, now: float = 0.0, cost: int = 1) -> bool:
    """Whether it was known; what was made of it is offered then."""
    value = known.get(key, now)
    assert value in {None, f"of {key}"}
    if value is None:
        known.keep(key, f"of {key}", cost, now)
    return value is not None


def test_what_comes_again_is_remembered_from_the_second_time_on_while_it_comes() -> None:
    known: Repeated[str, str] = Repeated(1_000, 100.0)
    assert [again(known, "a", now) for now in (0.0, 90.0, 180.0, 270.0, 360.0)] == [False, False, True, True, True]
    again(known, "b", 470.0)
    again(known, "b", 590.0)
    assert not again(known, "a", 600.0), "nobody asked for it in two generations"


def test_what_comes_once_takes_no_room() -> None:
    known: Repeated[str, str] = Repeated(1_000, 1e9)
    assert [again(known, "a", cost=500) for _ in range(3)] == [False, False, True]
    for number in range(100):
        assert not again(known, str(number), cost=500)
    assert again(known, "a", cost=500)


def test_what_comes_again_has_its_room() -> None:
    known: Repeated[str, str] = Repeated(1_000, 1e9)
    for number in range(100):
        for _ in range(3):
            again(known, str(number), cost=500)
    assert again(known, "99", cost=500)
    assert not any(again(known, str(number), cost=500) for number in range(90))


def test_what_comes_again_after_too_many_others_is_new() -> None:
    known: Repeated[str, str] = Repeated(1_000_000, 1e9)
    for _ in range(4):
        for number in range(3_000):
            assert not again(known, str(number))
