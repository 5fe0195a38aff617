"""What every implementation of the service's ports must do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from redis.asyncio import Redis
from redis.exceptions import MovedError

from services.features.app import Parts, clock_ms
from services.features.domain.events import Event, Line
from services.features.domain.features import EMPTY, NO_TOKEN, Entry, Record
from services.features.domain.tokens import ALL, COUNTERS, moved
from services.features.ports import Appended
from tests.contract.features.conftest import ON_EVERY_STORE, OnlineServers

_ids = itertools.count()
NOW = 1_760_000_000_000
DAY_TTL = 86_400_000


def event(
    event_id: str = "", kind: str = "detail-page-view", user: str = "u1", visitor: str = "", **more: object
) -> Event:
    values = {
        "event_id": event_id or f"e{next(_ids)}", "event_type": kind, "user_id": user, "visitor_id": visitor,
        "session_id": "s", "event_time_us": NOW * 1_000 + 7, "lines": (Line("p1", 2, 1.5), Line("p2", 1, None)),
        "revenue": None, "rating": None, "position": 3, "attribution_token": "t", "device": "mobile",
        "attributes": {"k": 'v"\\ü'},
    }  # fmt: skip
    return Event(**(values | more))  # type: ignore[arg-type]  # a mapping of fields


class TestEventLog:
    async def test_stores_new_events_once(self, parts: Parts) -> None:
        one, two = event("a"), event("b", user="", visitor="v")
        first = await parts.log.append([one, two, one])
        assert (list(first.new), set(first.unknown_products)) == ([True, True, False], {"p1", "p2"})
        assert first.transaction is not None
        assert await parts.log.append([two, one]) == Appended([False, False], frozenset(), None)
        third = await parts.log.append([two, event("c", kind="search", lines=())])
        assert list(third.new) == [False, True]

    async def test_keeps_every_field(self, parts: Parts) -> None:
        await parts.log.append(
            [event("a"), event("b", user="", visitor="v", attributes={}, session_id="", position=None)]
        )
        rows = await parts.database.fetch("SELECT * FROM events ORDER BY seq")
        full, sparse = dict(rows[0]), dict(rows[1])
        assert (full["user_id"], full["visitor_id"], full["subject_id"]) == ("u1", None, "u1")
        assert (full["session_id"], full["position"], full["device"]) == ("s", 3, "mobile")
        assert full["event_time"].microsecond == 7
        assert '"v\\"\\\\ü"' in full["attributes"]
        assert (sparse["subject_id"], sparse["user_id"], sparse["attributes"], sparse["session_id"]) == (
            "~v",
            None,
            None,
            None,
        )
        lines = await parts.database.fetch("SELECT * FROM event_lines ORDER BY seq, line")
        assert [(r["product_id"], r["quantity"], r["price"], r["guest"]) for r in lines] == [
            ("p1", 2, 1.5, False), ("p2", 1, None, False), ("p1", 2, 1.5, True), ("p2", 1, None, True),
        ]  # fmt: skip

    @pytest.mark.parametrize("number", [20, 300])
    async def test_concurrent_senders_of_the_same_events_agree(self, parts: Parts, number: int) -> None:
        events = [event(f"same-{n}") for n in range(number)]
        answers = await asyncio.gather(
            *(parts.log.append(events if n % 2 else events[::-1]) for n in range(6)),
        )
        assert sum(sum(answer.new) for answer in answers) == number

    async def test_only_ended_transactions_are_below_the_horizon(self, parts: Parts) -> None:
        start = await parts.log.horizon()
        async with parts.database.transaction() as slow:
            await slow.execute("SELECT pg_current_xact_id()")
            quick = (await parts.log.append([event("quick")])).transaction
            assert quick is not None
            assert await parts.log.transactions(start, await parts.log.horizon(), 10) == []
        horizon = await parts.log.horizon()
        assert await parts.log.transactions(start, horizon, 10) == [quick]
        (logged,) = await parts.log.events_of(quick)
        assert (logged.event_type, logged.subject_id) == ("detail-page-view", "u1")
        # Up to the next millisecond: from then on the event counts.
        assert (logged.event_time_ms, sorted(logged.product_ids)) == (NOW + 1, ["p1", "p2"])

    async def test_training_rows_are_signed_in_lines_by_time(self, parts: Parts) -> None:
        await parts.log.append(
            [
                event("late", event_time_us=NOW * 1_000 + 5_000),
                event("early", event_time_us=NOW * 1_000, lines=(Line("p0", 4, None),)),
                event("guest", user="", visitor="v"),
                event("other", kind="add-to-cart"),
                event("end", event_time_us=NOW * 1_000 + 9_000),
            ]
        )
        window = NOW * 1_000, NOW * 1_000 + 9_000
        chunks = [chunk async for chunk in parts.training.rows(*window, ["detail-page-view"], 2)]
        rows = [row for chunk in chunks for row in zip(*chunk, strict=True)]
        assert [row[:5] for row in rows] == [
            ("u1", "p0", "detail-page-view", NOW, 4),
            ("u1", "p1", "detail-page-view", NOW + 5, 2),
            ("u1", "p2", "detail-page-view", NOW + 5, 1),
        ]
        assert [row[8] for row in rows] == [NOW * 1_000, NOW * 1_000 + 5_000, NOW * 1_000 + 5_000]
        early, late, same = (row[5] for row in rows)
        assert early != late == same, "the lines of one event have one number"
        assert [len(chunk.user_ids) for chunk in chunks] == [2, 1]


async def put(parts: Parts, entity: str, entries: dict[str, dict[int, Entry]], ttl_ms: int = DAY_TTL) -> None:
    begun = await parts.online.begin(entity, list(entries))
    pairs = {i: (record, entries[i]) for i, record in zip(entries, begun, strict=True)}
    assert await parts.online.write(entity, ttl_ms, pairs) == set()


async def evict(online_servers: OnlineServers, entity_id: str) -> None:
    for url in online_servers.urls:
        async with Redis.from_url(url) as redis:
            for key in [key async for key in redis.scan_iter(f"ws:1:{{*:{entity_id}")]:
                await redis.delete(key)


@ON_EVERY_STORE
class TestOnlineStore:
    async def test_reads_what_was_written_in_the_order_asked(self, parts: Parts) -> None:
        a, b = Entry(1, NO_TOKEN, "x"), Entry(2, NO_TOKEN, ["y", "z"])
        await put(parts, "User", {"a": {7: a}, "b": {7: b}})
        found_b, nobody, found_a = await parts.online.read("User", ["b", "nobody", "a"])
        assert (found_b.entries, nobody, found_a.entries) == ({7: b}, EMPTY, {7: a})
        assert await parts.online.read("Product", ["a"]) == [EMPTY]

    async def test_a_record_begins_with_a_token_of_its_own_and_once(self, parts: Parts) -> None:
        begun = await parts.online.begin("User", ["a", "b"])
        assert [record.entries for record in begun] == [{}, {}]
        assert len({NO_TOKEN, *(record.token for record in begun)}) == 3
        await put(parts, "User", {"a": {7: Entry(1, begun[0].token, 5)}})
        assert await parts.online.begin("User", ["a", "b"]) == await parts.online.read("User", ["a", "b"])
        assert await parts.online.read("User", ["a"]) == [Record(begun[0].token, {7: Entry(1, begun[0].token, 5)})]

    async def test_a_mark_changes_the_token_and_keeps_the_values(self, parts: Parts) -> None:
        await put(parts, "User", {"a": {7: Entry(1, NO_TOKEN, 5)}})
        tokens = {NO_TOKEN}
        for _ in range(3):
            await parts.online.mark({"User": {"a": [], "new": []}}, NOW, [])
            marked, new = await parts.online.read("User", ["a", "new"])
            assert marked.entries == {7: Entry(1, NO_TOKEN, 5)}
            assert new.entries == {}
            tokens |= {marked.token, new.token}
        assert len(tokens) == 7

    async def test_a_mark_moves_the_counters_that_it_names_and_no_other(self, parts: Parts) -> None:
        await parts.online.begin("User", ["a", "b"])
        for some in range(1, ALL + 1):
            before = await parts.online.read("User", ["a", "b", "new"])
            await parts.online.mark(
                {"User": {"a": [], "b": [], "new": []}}, NOW, [], {"User": {"a": some, "new": some}}
            )
            a, b, new = zip(before, await parts.online.read("User", ["a", "b", "new"]), strict=True)
            for counter in range(COUNTERS):
                one = 1 << counter
                assert moved(a[0].token, a[1].token, one) == bool(some & one)
                assert moved(b[0].token, b[1].token, one)  # it may have been anything
            assert new[0].token != new[1].token

    async def test_a_value_computed_before_a_mark_is_written_as_dirty(self, parts: Parts) -> None:
        await parts.online.mark({"User": {"a": []}}, NOW, [])
        (before,) = await parts.online.read("User", ["a"])
        await parts.online.mark({"User": {"a": []}}, NOW, [])  # an event, while the computation runs
        await parts.online.write("User", DAY_TTL, {"a": (before, {7: Entry(1, before.token, 5)})})
        (after,) = await parts.online.read("User", ["a"])
        assert after.entries == {7: Entry(1, before.token, 5)}
        assert after.token != before.token

    @pytest.mark.parametrize("there", [True, False])
    async def test_nothing_is_written_into_a_record_that_was_evicted(
        self, parts: Parts, online_servers: OnlineServers, there: bool
    ) -> None:
        """With it may have gone the mark of an event that the computation missed."""
        if there:
            await put(parts, "User", {"a": {7: Entry(1, NO_TOKEN, 5)}})
        (before,) = await parts.online.begin("User", ["a"])
        await parts.online.mark({"User": {"a": []}}, NOW, [])
        await evict(online_servers, "a")
        await parts.online.write("User", DAY_TTL, {"a": (before, {8: Entry(1, before.token, 5)})})
        assert await parts.online.read("User", ["a"]) == [EMPTY]
        # And into one that began anew it comes as dirty.
        (anew,) = await parts.online.begin("User", ["a"])
        await parts.online.write("User", DAY_TTL, {"a": (before, {8: Entry(1, before.token, 5)})})
        assert await parts.online.read("User", ["a"]) == [Record(anew.token, {8: Entry(1, before.token, 5)})]
        assert anew.token != before.token

    async def test_concurrent_writers_lose_nothing_and_the_later_computation_wins(self, parts: Parts) -> None:
        await asyncio.gather(
            *(put(parts, "User", {"a": {n: Entry(1, NO_TOKEN, n), 99: Entry(n, NO_TOKEN, n)}}) for n in range(1, 4))
        )
        (record,) = await parts.online.read("User", ["a"])
        assert record.entries == {n: Entry(1, NO_TOKEN, n) for n in range(1, 4)} | {99: Entry(3, NO_TOKEN, 3)}

    async def test_forgets(self, parts: Parts) -> None:
        await put(parts, "User", {"a": {7: Entry(1, NO_TOKEN, 5)}})
        await parts.online.forget("User", ["a", "nobody"])
        assert await parts.online.read("User", ["a"]) == [EMPTY]

    async def test_every_record_has_a_time_to_live(self, parts: Parts, online_servers: OnlineServers) -> None:
        await parts.online.mark({"User": {"a": []}, "Product": {"p": []}}, NOW, [5])
        await put(parts, "User", {"b": {7: Entry(1, NO_TOKEN, 5)}}, 50_000)
        times: dict[str, int] = {}
        for url in online_servers.urls:
            async with Redis.from_url(url) as redis:
                times |= {key.decode(): await redis.pttl(key) async for key in redis.scan_iter("ws:1:*")}
        assert times.pop("ws:1:marks:{marks}:confirmed") > 0
        times = {key: time for key, time in times.items() if key.startswith("ws:1:{")}
        assert sorted(key.split(":")[-1] for key in times) == ["a", "b"]
        assert all(0 < time <= 4_000_000 for time in times.values())
        assert next(time for key, time in times.items() if key.endswith(":b")) <= 55_000


@ON_EVERY_STORE
class TestDueQueue:
    async def test_claims_what_is_due_longest_waiting_first(self, parts: Parts) -> None:
        await parts.queue.enqueue("User", {"c": NOW - 1, "b": NOW - 2, "a": NOW - 3, "later": NOW + 1})
        assert (await parts.queue.look(NOW)).lengths["User"] == 3
        assert [c.id for c in await parts.queue.claim("User", NOW, 2)] == ["a", "b"]
        (claim,) = await parts.queue.claim("User", NOW, 2)
        assert (claim.id, claim.due_ms) == ("c", NOW - 1)
        assert await parts.queue.claim("User", NOW, 2) == []

    async def test_two_workers_never_get_the_same(self, parts: Parts) -> None:
        await parts.queue.enqueue("User", {f"u{n}": NOW for n in range(100)})
        claims = await asyncio.gather(*(parts.queue.claim("User", NOW, 30) for _ in range(5)))
        ids = [claim.id for batch in claims for claim in batch]
        assert sorted(ids) == sorted(f"u{n}" for n in range(100))

    async def test_a_lease_that_ends_gives_the_entity_to_another(self, parts: Parts) -> None:
        await parts.queue.enqueue("User", {"a": NOW})
        (claim,) = await parts.queue.claim("User", NOW, 9)
        assert await parts.queue.claim("User", claim.lease - 1, 9) == []
        assert [c.id for c in await parts.queue.claim("User", claim.lease, 9)] == ["a"]
        # What the first one did not know in time is not taken from the second.
        await parts.queue.complete("User", [(claim, None)])
        assert (await parts.queue.look(claim.lease * 2)).lengths["User"] == 1

    async def test_completion_sets_the_next_time_or_leaves_the_queue(self, parts: Parts) -> None:
        await parts.queue.enqueue("User", {"again": NOW, "done": NOW})
        claims = {c.id: c for c in await parts.queue.claim("User", NOW, 9)}
        await parts.queue.complete("User", [(claims["again"], NOW + 500), (claims["done"], None)])
        assert [c.id for c in await parts.queue.claim("User", NOW + 500, 9)] == ["again"]
        assert (await parts.queue.look(NOW * 2)).lengths["User"] == 1

    async def test_an_entity_that_was_marked_meanwhile_stays_due(self, parts: Parts) -> None:
        await parts.queue.enqueue("Product", {"a": NOW})
        (claim,) = await parts.queue.claim("Product", NOW, 9)
        await parts.online.mark({"Product": {"a": []}}, NOW + 1, [])
        await parts.queue.complete("Product", [(claim, NOW + 60_000)])
        assert [c.id for c in await parts.queue.claim("Product", NOW + 1, 9)] == ["a"]

    async def test_enqueueing_never_postpones(self, parts: Parts) -> None:
        await parts.queue.enqueue("User", {"a": NOW})
        await parts.queue.enqueue("User", {"a": NOW + 1_000})
        assert [c.id for c in await parts.queue.claim("User", NOW, 9)] == ["a"]


@ON_EVERY_STORE
class TestTailState:
    async def test_cursor_and_confirmations(self, parts: Parts) -> None:
        assert await parts.queue.cursor() is None
        await parts.queue.renew()
        assert await parts.queue.cursor() is None
        await parts.online.mark({}, NOW, [10, 12])
        assert await parts.queue.confirmed([10, 11, 12]) == {10, 12}
        await parts.queue.advance(12)
        assert await parts.queue.cursor() == 12
        assert await parts.queue.confirmed([10, 12]) == {12}
        assert await parts.queue.confirmed([]) == set()
        await parts.queue.renew()
        assert await parts.queue.cursor() is None

    @pytest.mark.parametrize("queue", ["later", "due:User", "due:Product", "claimed:User", "claimed:Product"])
    async def test_the_cursor_is_lost_with_any_of_the_queues(
        self, parts: Parts, online_servers: OnlineServers, queue: str
    ) -> None:
        """A server that evicts takes one key at a time."""
        await parts.queue.renew()
        await parts.queue.advance(12)
        assert await parts.queue.claim("User", 2**60, 9) == []
        assert (await parts.queue.pending("User", 2**60)) == (None, 12)
        for url in online_servers.urls:
            async with Redis.from_url(url) as redis:
                with contextlib.suppress(MovedError):
                    assert await redis.delete(f"ws:1:marks:{{marks}}:{queue}") == 1
        await parts.online.mark({"User": {"a": [NOW + 1]}, "Product": {"p": []}}, NOW, [])
        assert await parts.queue.cursor() is None
        await parts.queue.renew()
        await parts.queue.advance(13)
        assert await parts.queue.cursor() == 13

    async def test_a_receipt_is_there_until_it_is_lost(self, parts: Parts, online_servers: OnlineServers) -> None:
        one, two = await parts.queue.sign(), await parts.queue.sign()
        assert one != two
        assert await parts.queue.signed(one)
        for url in online_servers.urls:
            async with Redis.from_url(url) as redis:
                await redis.flushall()
        assert not await parts.queue.signed(one)

    async def test_events_of_the_future_arrive_each_in_its_time(self, parts: Parts) -> None:
        touched = {"User": {"a": [NOW + 50, NOW + 70], "b": []}, "Product": {"p": [NOW + 60, NOW - 1]}}
        await parts.online.mark(touched, NOW, [])
        await parts.online.mark({"User": {"a": [NOW + 90]}}, NOW, [])

        async def arrived(now_ms: int) -> list[tuple[str, str]]:
            found = await parts.queue.arrived(now_ms, 9)
            # Whoever dies before it has marked them leaves them to the next.
            assert await parts.queue.arrived(now_ms, 9) == found
            await parts.queue.woken(found)
            return [(arrival.entity, arrival.id) for arrival in found]

        assert await arrived(NOW + 49) == []
        assert await arrived(NOW + 60) == [("User", "a"), ("Product", "p")]
        assert await arrived(NOW + 70) == [("User", "a")]
        assert await arrived(NOW + 99) == [("User", "a")]
        assert await arrived(NOW + 99) == []

    async def test_the_log_knows_the_events_of_the_future(self, parts: Parts) -> None:
        now_ms = clock_ms()
        times = {"past": -5_000, "soon": 5_000, "later": 9_000}
        await parts.log.append([event(name, event_time_us=(now_ms + ms) * 1_000) for name, ms in times.items()])
        found = await parts.log.future_events(now_ms)
        assert sorted((e.event_time_ms - now_ms, e.subject_id, *sorted(e.product_ids)) for e in found) == [
            (5_000, "u1", "p1", "p2"), (9_000, "u1", "p1", "p2"),
        ]  # fmt: skip
