"""Draws the demo shop's users: hidden tastes that their behaviour follows."""

from dataclasses import dataclass

import numpy as np

from windowshop_client.demo.catalogue import Catalogue, Floats
from windowshop_client.demo.tastes import DAYPARTS, DEVICE_SHARES, DEVICES, FAMOUS, LIFESTYLES

USERS = 500

RISING_FACTOR = 6.0
"""How much more a rising product is looked at in the last week than before."""


@dataclass(frozen=True, slots=True)
class Interest:
    """A leaf category that a user shops in; arrays have one element per member product."""

    leaf: int
    members: tuple[int, ...]
    """Indices of the leaf's products."""
    liking: Floats
    """Probability of each member up to a week ago; sums to 1."""
    liking_now: Floats
    """The same in the last week, when rising products have been discovered."""
    staples: tuple[int, ...]
    """Products bought over and over; empty unless the leaf is of that kind."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user and the habits behind the clicks."""

    id: str
    interests: tuple[Interest, ...]
    weights: Floats
    """How much of the user's time goes to each interest; sums to 1."""
    price_preference: float
    """0 (always the cheapest) to 1 (always the dearest)."""
    sessions: int
    """Visits in eight weeks."""
    hour: tuple[float, float]
    """Mean and standard deviation of the hour of a visit."""
    device: str
    decisiveness: float
    """Probability that a filled cart is paid for."""
    live: bool
    """In the shop within the last hour."""
    famous: bool
    """Named by the documents: has bought in the last 30 days for certain."""


def draw_person(rng: np.random.Generator, number: int, catalogue: Catalogue) -> Person:
    """User number 1 to 500."""
    famous = number in FAMOUS
    price_preference = float(rng.beta(1.6, 1.6))
    brands = frozenset(str(b) for b in rng.choice(sorted({p.brand for p in catalogue.products}), 24, replace=False))
    leaves = _leaves(rng, number, catalogue)
    weights = rng.dirichlet([4.0 / (1 + rank) for rank in range(len(leaves))])
    dayparts = sorted(DAYPARTS)
    live = bool(rng.random() < 0.12)
    visits = float(rng.lognormal(np.log(9.0), 0.65))
    return Person(
        id=f"user_{number:03d}",
        interests=tuple(_interest(rng, leaf, catalogue, price_preference, brands) for leaf in leaves),
        weights=np.sort(weights)[::-1],
        price_preference=price_preference,
        sessions=28 if famous else int(np.clip(round(visits), 2, 45)),
        hour=DAYPARTS[dayparts[int(rng.integers(len(dayparts)))]],
        device=DEVICES[int(rng.choice(len(DEVICES), p=DEVICE_SHARES))],
        decisiveness=float(rng.uniform(0.3, 0.75)),
        live=live or famous,
        famous=famous,
    )


def _leaves(rng: np.random.Generator, number: int, catalogue: Catalogue) -> list[int]:
    """Two to four leaves, all but perhaps the last from one way of life; the first one weighs most."""
    names = sorted(LIFESTYLES)
    style = FAMOUS.get(number, names[int(rng.integers(len(names)))])
    known = LIFESTYLES[style]
    wanted = int(rng.integers(2, 5))
    order = [int(i) for i in rng.permutation(len(known))]
    if number in FAMOUS:
        order.sort()
        wanted = 3
    chosen = [_find_leaf(catalogue, known[i]) for i in order[:wanted]]
    if wanted > 2 and rng.random() < 0.4 and number not in FAMOUS:
        chosen[-1] = int(rng.integers(len(catalogue.leaves)))
    return list(dict.fromkeys(chosen))


def _find_leaf(catalogue: Catalogue, name: str) -> int:
    return next(i for i, leaf in enumerate(catalogue.leaves) if f" > {leaf.path}".endswith(f" > {name}"))


def _interest(
    rng: np.random.Generator, leaf: int, catalogue: Catalogue, price_preference: float, brands: frozenset[str]
) -> Interest:
    members = np.flatnonzero(catalogue.leaf_of == leaf)
    distance = (catalogue.price_rank[members] - price_preference) / 0.35
    loved = np.array([3.0 if catalogue.products[int(i)].brand in brands else 1.0 for i in members])
    liking = catalogue.appeal[members] * np.exp(-(distance**2)) * loved
    liking_now = liking * np.where(catalogue.rising[members], RISING_FACTOR, 1.0)
    best = members[np.argsort(-liking * rng.uniform(0.5, 1.5, len(members)), kind="stable")]
    return Interest(
        leaf=leaf,
        members=tuple(int(i) for i in members),
        liking=liking / liking.sum(),
        liking_now=liking_now / liking_now.sum(),
        staples=tuple(int(i) for i in best[:3]) if catalogue.leaves[leaf].consumable else (),
    )
