"""Since when something waits: what is due, what is being computed, whatever becomes of who computes it."""

from __future__ import annotations

from services.features.app import Parts
from services.features.ports import Pending
from tests.contract.features.conftest import ON_EVERY_STORE

NOW = 1_760_000_000_000


async def since(parts: Parts, now_ms: int = NOW) -> int | None:
    return (await parts.queue.pending("Product", now_ms)).since_ms


@ON_EVERY_STORE
class TestPending:
    async def test_a_new_queue_knows_nothing(self, parts: Parts) -> None:
        assert await parts.queue.pending("Product", NOW) == Pending(None, None)
        await parts.queue.renew()
        await parts.queue.advance(17)
        assert await parts.queue.pending("Product", NOW) == Pending(None, 17)

    async def test_what_is_due_waits_since_then(self, parts: Parts) -> None:
        await parts.queue.enqueue("Product", {"a": NOW - 5, "b": NOW - 3, "later": NOW + 1})
        await parts.queue.enqueue("User", {"u": NOW - 9})
        assert await since(parts) == NOW - 5
        assert await since(parts, NOW - 6) is None
        assert await since(parts, NOW - 5) == NOW - 5

    async def test_what_is_claimed_waits_until_it_is_completed(self, parts: Parts) -> None:
        await parts.queue.enqueue("Product", {"a": NOW - 5, "b": NOW - 3})
        first = await parts.queue.claim("Product", NOW, 1)
        assert await since(parts) == NOW - 5
        second = await parts.queue.claim("Product", NOW, 1)
        await parts.queue.complete("Product", [(first[0], NOW + 1_000)])
        assert await since(parts) == NOW - 3
        await parts.queue.complete("Product", [(second[0], None)])
        assert await since(parts) is None

    async def test_what_is_marked_while_it_is_computed_waits_since_its_mark(self, parts: Parts) -> None:
        await parts.queue.enqueue("Product", {"a": NOW - 5})
        (claim,) = await parts.queue.claim("Product", NOW, 1)
        await parts.online.mark({"Product": {"a": []}}, NOW + 2, [])
        assert await since(parts, NOW + 3) == NOW - 5
        await parts.queue.complete("Product", [(claim, NOW + 1_000)])
        assert await since(parts, NOW + 3) == NOW + 2

    async def test_what_a_killed_worker_had_waits_since_it_was_due(self, parts: Parts) -> None:
        await parts.queue.enqueue("Product", {"a": NOW - 5})
        (lost,) = await parts.queue.claim("Product", NOW, 1)
        assert await since(parts, lost.lease + 1) == NOW - 5
        (again,) = await parts.queue.claim("Product", lost.lease + 1, 1)
        assert await since(parts, lost.lease + 1) == NOW - 5
        # It was not killed, it was slow: what another computes now is not done.
        await parts.queue.complete("Product", [(lost, None)])
        assert await since(parts, lost.lease + 1) == NOW - 5
        await parts.queue.complete("Product", [(again, None)])
        assert await since(parts, lost.lease + 1) is None

    async def test_who_was_erased_while_claimed_waits_no_more(self, parts: Parts) -> None:
        await parts.queue.enqueue("Product", {"a": NOW - 5, "b": NOW - 3})
        await parts.queue.claim("Product", NOW, 2)
        await parts.online.erase("Product", "a", NOW, ())
        assert await since(parts) == NOW - 3
        await parts.online.erase("Product", "b", NOW, ())
        assert await since(parts) is None
