"""Who may be remembered while erasures of this and of other processes come in."""

from __future__ import annotations

import pytest

from services.recommender.domain.shoppers import Shopper
from services.recommender.pipeline.erasures import Erasures
from services.recommender.ranking_ports import LatelyErased
from services.runtime.errors import ServiceError, unavailable

SALT = b"salt"
ANN, GUEST = Shopper("ann"), Shopper("ann", guest=True)


class Store:
    """Erased shoppers by the second of their erasure."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.erased: dict[Shopper, float] = {}
        self.down = False

    async def erase(self, shopper: Shopper) -> None:
        self.erased[shopper] = self.now

    async def lately(self, seconds: float) -> LatelyErased:
        if self.down:
            raise unavailable("DATABASE_UNAVAILABLE", "away")
        since = self.now - seconds
        return LatelyErased(SALT, frozenset(who.digest(SALT) for who, at in self.erased.items() if at > since))


class Memory:
    def __init__(self, *known: Shopper) -> None:
        self.known = set(known)

    def forget(self, erased: object) -> int:
        before = len(self.known)
        self.known = {shopper for shopper in self.known if not erased(shopper)}  # type: ignore[operator]  # a function
        return before - len(self.known)


def erasures(store: Store, memory: Memory) -> Erasures:
    made = Erasures(store, lambda: store.now)
    made.add_memory(memory.forget)
    return made


async def test_an_erased_shopper_is_forgotten_and_not_remembered_again_for_a_while() -> None:
    store, memory = Store(), Memory(ANN, GUEST)
    here = erasures(store, memory)
    assert await here.erase(ANN) == {"signals": 1}
    assert memory.known == {GUEST}
    assert here.erased_lately(ANN)
    assert not here.erased_lately(GUEST)
    for _ in range(2):  # the first look takes in the time since the one before
        store.now += 200
        await here.refresh()
    assert not here.erased_lately(ANN)


async def test_an_erasure_elsewhere_is_noticed_however_long_ago_the_last_look_was() -> None:
    store, memory = Store(), Memory(ANN, GUEST)
    here = erasures(store, memory)
    await here.refresh()
    await store.erase(ANN)
    assert memory.known == {ANN, GUEST}
    store.now += 100_000
    await here.refresh()
    assert memory.known == {GUEST}


async def test_nobody_may_be_remembered_while_nobody_can_say_who_was_erased() -> None:
    store = Store()
    here = erasures(store, Memory())
    assert here.erased_lately(ANN)
    await here.refresh()
    assert not here.erased_lately(ANN)
    store.down = True
    store.now += 9
    assert not here.erased_lately(ANN)
    store.now += 2
    assert here.erased_lately(ANN)


async def test_an_erasure_fails_when_this_process_cannot_make_sure_of_it() -> None:
    store, memory = Store(), Memory(ANN)
    here = erasures(store, memory)
    store.down = True
    with pytest.raises(ServiceError):
        await here.erase(ANN)
    store.down = False
    await here.erase(ANN)
    assert not memory.known
