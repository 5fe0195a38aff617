"""One execution for concurrent callers of one thing or of many, and cancellation that hurts only who gave up."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.coalescing import SharedBatches, SingleFlight, Together
from tests.support.waiting import eventually


async def test_concurrent_callers_share_one_execution() -> None:
    flights: SingleFlight[int] = SingleFlight()
    runs = 0
    release = asyncio.Event()

    async def work() -> int:
        nonlocal runs
        runs += 1
        await release.wait()
        return runs

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(flights.run("a", work)) for _ in range(5)]
        await asyncio.sleep(0)
        release.set()
    assert [c.result() for c in callers] == [1] * 5
    assert await flights.run("a", work) == 2


async def test_one_callers_cancellation_leaves_the_others_alone() -> None:
    flights: SingleFlight[str] = SingleFlight()
    release = asyncio.Event()

    async def work() -> str:
        await release.wait()
        return "done"

    first = asyncio.create_task(flights.run("a", work))
    second = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    release.set()
    assert await second == "done"


async def test_the_last_cancellation_stops_the_work() -> None:
    flights: SingleFlight[None] = SingleFlight()
    stopped = asyncio.Event()
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    caller = asyncio.create_task(flights.run("a", work))
    await started.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(stopped.wait(), 1)


async def test_a_failure_reaches_every_caller_and_is_not_kept() -> None:
    flights: SingleFlight[int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*(flights.run("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(r) for r in results] == [ValueError] * 3

    async def succeed() -> int:
        return 1

    assert await flights.run("a", succeed) == 1


class Statements:
    """What is executed for batches of keys; each waits for its release."""

    def __init__(self) -> None:
        self.batches: SharedBatches[str, str] = SharedBatches()
        self.executed: list[list[str]] = []
        self.cancelled: list[list[str]] = []
        self.failing: set[str] = set()
        self.release = asyncio.Event()

    async def execute(self, keys: Sequence[str]) -> dict[str, str]:
        self.executed.append(list(keys))
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.append(list(keys))
            raise
        if not self.failing.isdisjoint(keys):
            raise ValueError(f"no {keys}")
        return {key: f"value of {key}" for key in keys}

    def ask(self, *keys: str) -> asyncio.Task[dict[str, str]]:
        return asyncio.create_task(self.batches.run(keys, self.execute))


async def test_overlapping_batches_execute_each_key_once() -> None:
    statements = Statements()
    callers = [statements.ask(*keys) for keys in ("ab", "bc", "b", "cda", "aa", "de")]
    await asyncio.sleep(0)
    statements.release.set()
    assert [list(await caller) for caller in callers] == [
        list(dict.fromkeys(k)) for k in ["ab", "bc", "b", "cda", "a", "de"]
    ]
    assert (await callers[3])["d"] == "value of d"
    assert statements.executed == [["a", "b"], ["c"], ["d"], ["e"]]
    await statements.ask("a")
    assert statements.executed[-1] == ["a"]  # a result is not kept


async def test_the_first_of_overlapping_callers_may_give_up() -> None:
    statements = Statements()
    first, second = statements.ask("a", "b"), statements.ask("b", "c")
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    statements.release.set()
    assert await second == {"b": "value of b", "c": "value of c"}
    assert (statements.executed, statements.cancelled) == ([["a", "b"], ["c"]], [])


async def test_what_nobody_waits_for_any_more_is_cancelled() -> None:
    statements = Statements()
    first, second = statements.ask("a", "b"), statements.ask("b", "c")
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    await asyncio.sleep(0)
    assert statements.cancelled == [["c"]]
    again = statements.ask("c")
    await asyncio.sleep(0)
    statements.release.set()
    assert await again == {"c": "value of c"}
    assert await first == {"a": "value of a", "b": "value of b"}


async def test_a_failed_batch_is_the_failure_of_those_who_wait_for_it_only() -> None:
    statements = Statements()
    statements.failing = {"a"}
    first, second, third = statements.ask("a", "b"), statements.ask("b", "c"), statements.ask("c")
    await asyncio.sleep(0)
    statements.release.set()
    results = await asyncio.gather(first, second, third, return_exceptions=True)
    assert [type(result) for result in results[:2]] == [ValueError, ValueError]
    assert results[2] == {"c": "value of c"}
    statements.failing = set()
    assert await statements.ask("a") == {"a": "value of a"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcde"), min_size=1, max_size=4), st.booleans(), st.booleans()), max_size=8
    ),
    st.sets(st.sampled_from("abcde"), max_size=2),
)
def test_whoever_stays_is_answered_and_no_key_is_under_way_twice(
    callers: list[tuple[list[str], bool, bool]], failing: set[str]
) -> None:
    async def run() -> None:
        statements = Statements()
        statements.failing = failing
        tasks = []
        for keys, gives_up, at_once in callers:
            task = statements.ask(*keys)
            tasks.append(task)
            if at_once:
                await asyncio.sleep(0)
            if gives_up:
                task.cancel()
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        under_way = [key for keys in statements.executed if keys not in statements.cancelled for key in keys]
        assert len(under_way) == len(set(under_way))
        statements.release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for (keys, gives_up, _), result in zip(callers, results, strict=True):
            if isinstance(result, asyncio.CancelledError):
                assert gives_up
            elif isinstance(result, ValueError):
                assert failing
            else:
                assert result == {key: f"value of {key}" for key in keys}
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


class Batches:
    """Counts and answers; can fail, and wait."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.failure: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, keys: Sequence[str]) -> dict[str, str]:
        self.asked.append(list(keys))
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return {key: key.upper() for key in keys if key != "unknown"}


async def test_calls_of_one_turn_are_one() -> None:
    batches = Batches()
    together = Together(batches, most=10)
    found = await asyncio.gather(together.run(["a", "b"]), together.run(["b"]), together.run(["unknown"]))
    assert batches.asked == [["a", "b", "unknown"]]
    assert [one.get("b") for one in found] == ["B"] * 3
    assert "unknown" not in found[2]
    assert (await together.run(["a"]))["a"] == "A"
    assert batches.asked[1:] == [["a"]], "nothing is remembered"


async def test_a_call_that_comes_later_sees_what_happened_meanwhile() -> None:
    batches = Batches()
    batches.go.clear()
    together = Together(batches, most=10)
    first = asyncio.create_task(together.run(["a"]))
    await eventually(lambda: batches.asked == [["a"]])
    second = asyncio.create_task(together.run(["a"]))
    await eventually(lambda: batches.asked == [["a"], ["a"]])
    batches.go.set()
    await asyncio.gather(first, second)


async def test_many_keys_do_not_wait_for_the_turn_to_end() -> None:
    batches = Batches()
    together = Together(batches, most=3)
    await asyncio.gather(*(together.run([key]) for key in "abcde"))
    assert batches.asked == [["a", "b", "c"], ["d", "e"]]


async def test_a_failure_is_everybodys_and_who_gives_up_takes_nobody_along() -> None:
    batches = Batches()
    together = Together(batches, most=10)
    batches.failure = KeyError("down")
    outcomes = await asyncio.gather(together.run(["a"]), together.run(["b"]), return_exceptions=True)
    assert all(isinstance(outcome, KeyError) for outcome in outcomes)
    batches.failure = None
    first, second = (asyncio.create_task(together.run([key])) for key in "ab")
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)["b"] == "B"
