"""Draws the demo shop's products from its vocabulary."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from windowshop_client.demo.model import DemoProduct
from windowshop_client.demo.words import DEPARTMENTS, LINES, Department, Leaf

PRODUCTS = 2_000

FAMOUS = 99
"""Index of `prod_100`, which the documents name: a good product, in stock."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Products, and what nobody is told about them; arrays have one element per product."""

    products: tuple[DemoProduct, ...]
    leaves: tuple[Leaf, ...]
    leaf_of: NDArray[np.int64]
    appeal: Floats
    """How often a neutral shopper would pick it, relative to the others of its leaf; > 0."""
    quality: Floats
    """Mean of the ratings it will get, 1 to 5."""
    price_rank: Floats
    """0 (cheapest of its leaf) to 1 (dearest)."""
    rising: NDArray[np.bool_]
    """Became popular in the last week."""


def build_catalogue(rng: np.random.Generator) -> Catalogue:
    """2,000 products, `prod_001` to `prod_2000`, spread evenly over the leaf categories."""
    departments = [(leaf, dept) for dept in DEPARTMENTS for leaf in dept.leaves]
    leaf_of = np.sort(np.arange(PRODUCTS) % len(departments))
    quality = np.clip(rng.normal(4.0, 0.5, PRODUCTS), 1.6, 4.95)
    quality[FAMOUS] = 4.5
    stock = _stock(rng)
    products: list[DemoProduct] = []
    for number, (leaf, dept) in enumerate(departments):
        members = np.flatnonzero(leaf_of == number)
        combinations = rng.permutation(len(leaf.kinds) * len(leaf.traits))[: len(members)]
        for index, combination in zip(members, combinations, strict=True):
            position, words = int(index), int(combination)
            products.append(_product(rng, position, words, leaf, dept, quality[position], int(stock[position])))
    prices = np.array([product.price for product in products])
    return Catalogue(
        products=tuple(products),
        leaves=tuple(leaf for leaf, _ in departments),
        leaf_of=leaf_of,
        # A few favourites and a long tail in every leaf; good things are found more often.
        appeal=rng.lognormal(0.0, 1.0, PRODUCTS) * np.exp(0.5 * (quality - 4.0)),
        quality=quality,
        price_rank=_ranks_within(leaf_of, prices),
        rising=rng.random(PRODUCTS) < 0.02,
    )


def _product(
    rng: np.random.Generator, index: int, words: int, leaf: Leaf, dept: Department, quality: float, stock: int
) -> DemoProduct:
    kind = leaf.kinds[words // len(leaf.traits)]
    trait = leaf.traits[words % len(leaf.traits)]
    tier = int(rng.integers(len(dept.brands)))
    brand = dept.brands[tier]
    line = LINES[int(rng.integers(len(LINES)))]
    rated = rng.random() > 0.08
    count = int(np.ceil(rng.lognormal(3.3, 1.1))) if rated else 0
    average = float(np.clip(rng.normal(quality, 0.5 / np.sqrt(count)), 1, 5)) if rated else None
    return DemoProduct(
        id=f"prod_{index + 1:03d}",
        title=f"{brand} {line} {trait} {kind}",
        description=_description(rng, leaf, trait, kind, brand),
        categories=(leaf.path,),
        brand=brand,
        price=_price(rng, leaf, tier, len(dept.brands)),
        available_quantity=stock,
        rating_average=None if average is None else round(average, 2),
        rating_count=count,
        tags=("consumable",) if leaf.consumable else (),
    )


def _price(rng: np.random.Generator, leaf: Leaf, tier: int, tiers: int) -> float:
    """Log-normal around the leaf's median; the dearest brands take about three times the cheapest's."""
    tier_factor = float(np.exp(1.1 * (tier / (tiers - 1) - 0.5)))
    drawn = leaf.price * tier_factor * float(rng.lognormal(0.0, 0.28))
    if drawn < 20:
        return max(0.99, round(drawn) - 0.01) if rng.random() < 0.5 else max(0.49, round(drawn * 2) / 2 - 0.01)
    if drawn < 100:
        return round(drawn) - (0.01 if rng.random() < 0.6 else 0.1)
    return float(round(drawn / 10) * 10 - 1)


def _stock(rng: np.random.Generator) -> NDArray[np.int64]:
    """About 5 % sold out and 8 % with one to five left."""
    plenty = np.clip(rng.lognormal(4.0, 0.8, PRODUCTS).astype(np.int64), 6, 900)
    low = rng.integers(1, 6, PRODUCTS)
    fate = rng.random(PRODUCTS)
    stock = np.where(fate < 0.05, 0, np.where(fate < 0.13, low, plenty))
    stock[FAMOUS] = plenty[FAMOUS]
    return stock


def _description(rng: np.random.Generator, leaf: Leaf, trait: str, kind: str, brand: str) -> str:
    use = leaf.uses[int(rng.integers(len(leaf.uses)))]
    first, second = (leaf.details[int(i)] for i in rng.permutation(len(leaf.details))[:2])
    thing = _plain(f"{trait} {kind}")
    sentences = (
        f"{_capital(thing)} for {use}. {first}",
        f"Made for {use}: {thing} by {brand}. {first}",
        f"{first} {_capital(thing)}, just right for {use}.",
        f"{_capital(_plain(kind))} for {use}. {first} {second}",
    )
    return sentences[int(rng.integers(len(sentences)))]


def _plain(title: str) -> str:
    """ "Over-Ear USB-C Hub" -> "over-ear USB-C hub": as it is written inside a sentence."""
    words = (
        "-".join(part.lower() if part[1:].islower() else part for part in word.split("-")) for word in title.split()
    )
    return " ".join(words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ranks_within(groups: NDArray[np.int64], values: Floats) -> Floats:
    """Rank of each value within its group, scaled to 0..1."""
    ranks = np.zeros(len(values))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        order = np.argsort(np.argsort(values[members], kind="stable"), kind="stable")
        ranks[members] = order / max(1, len(members) - 1)
    return ranks
