"""A made-up shop of any size, the same at each run: products of kinds, users with tastes for some, what they did.

What is bought is no noise: users of one way of life like the same kinds and the same brands of them, and buy some
products again and again. So there is something to learn. Knows no service; `bench.synthetic_messages` makes messages.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from windowshop_client.demo.words import DEPARTMENTS, Department, Leaf

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DAYS = 180
SEED = 11
MOST_SOLD = 100_000
"""Products beyond are in the catalogue and in stock, but nobody has looked at them: of a million most are such."""

KINDS: tuple[tuple[Department, Leaf, str], ...] = tuple(
    (department, leaf, kind) for department in DEPARTMENTS for leaf in department.leaves for kind in leaf.kinds
)
STYLES = 3
"""Of a kind: a third of its department's brands each."""
_GROUPS = len(KINDS) * STYLES

_LIVES = 40
"""Ways of life: which kinds are liked together."""
_KINDS_OF_LIFE = 24
_KINDS_OF_USER = 6
_LIKING = np.array([0.36, 0.22, 0.16, 0.12, 0.08, 0.06])
"""Of a user's kinds, the most liked first."""
_ZIPF_PRODUCTS = 0.9
_ZIPF_USERS = 1.0
_SOLD_OUT = 0.05
_OWN_STYLE = 0.7
_STAPLES = 4
_AGAIN = 0.3
"""Of order lines: one of the user's staples."""
_FEWEST_LINES, _MOST_LINES, _MORE_LINES = 8, 60, 8.0
"""Order lines of a user; the mean of what comes on top."""
_LINES_OF_BASKET = 4.0

VIEW, CART, ORDER = 0, 1, 2


def user_id(number: int) -> str:
    return f"user_{number:07}"


def product_id(number: int) -> str:
    return f"prod_{number:07}"


def product_number(product: str) -> int:
    """The other way round; -1 for what is no id of this shop."""
    digits = product.removeprefix("prod_")
    return int(digits) if digits.isdecimal() and product == product_id(int(digits)) else -1


@dataclass(frozen=True, slots=True)
class History:
    """Events in the order of time; event n has the lines from `first_line[n]` on, `line_count[n]` of them."""

    age: Floats
    """Seconds before now."""
    users: Ints
    types: Ints
    first_line: Ints
    line_count: Ints
    products: Ints
    quantities: Ints

    def __len__(self) -> int:
        return len(self.users)


class World:
    """`products` and `users` are numbered from 0. Arrays are made when they are asked for."""

    def __init__(self, products: int, users: int) -> None:
        if products < _GROUPS:
            raise ValueError(f"fewer than {_GROUPS:,} products leave a kind without any")
        self.products = products
        self.sold = min(products, MOST_SOLD)
        self.users = users

    @cached_property
    def group(self) -> Ints:
        """Of each product: kind x STYLES + style."""
        sold = _dice("groups").permutation(np.arange(self.sold) % _GROUPS)
        return np.append(sold, np.arange(self.sold, self.products) % _GROUPS)

    @cached_property
    def popularity(self) -> Floats:
        """Of each product that is sold, summing to 1: Zipf over a random order."""
        weights = 1.0 / (1.0 + _dice("popularity").permutation(self.sold)) ** _ZIPF_PRODUCTS
        popularity: Floats = weights / weights.sum()
        return popularity

    @cached_property
    def stock(self) -> Ints:
        """Of each product; of some 5 % it is 0."""
        sold, others = _stock(_dice("stock"), self.sold), _stock(_dice("more"), self.products - self.sold)
        return np.append(sold, others)

    @cached_property
    def liked_kinds(self) -> Ints:
        """Users x _KINDS_OF_USER, the most liked first."""
        dice = _dice("tastes")
        kinds = np.argsort(dice.random((_LIVES, len(KINDS))), axis=1)[:, :_KINDS_OF_LIFE]
        lives = _zipf(_LIVES, 0.7, dice.random(self.users))
        places = _zipf(_KINDS_OF_LIFE, 0.8, dice.random((self.users, _KINDS_OF_USER)))
        liked = kinds[lives[:, None], places]
        odd = dice.random(liked.shape) < 0.15
        return np.where(odd, dice.integers(0, len(KINDS), liked.shape), liked)

    @cached_property
    def style(self) -> Ints:
        """The one that a user prefers."""
        return _dice("styles").integers(0, STYLES, self.users)

    @cached_property
    def staples(self) -> Ints:
        """Users x _STAPLES: what is bought again and again."""
        owners = np.repeat(np.arange(self.users), _STAPLES)
        return self.choose(owners, _dice("staples")).reshape(self.users, _STAPLES)

    def visitors(self, count: int, dice: np.random.Generator) -> Ints:
        """Users as they come: Zipf over a random order."""
        order = _dice("visitors").permutation(self.users)
        return order[_zipf(self.users, _ZIPF_USERS, dice.random(count))]

    def choose(self, users: Ints, dice: np.random.Generator) -> Ints:
        """A product for each of the users, by taste, and by popularity within its kind and style."""
        place = np.searchsorted(np.cumsum(_LIKING), dice.random(len(users)) * _LIKING.sum())
        kind = self.liked_kinds[users, np.minimum(place, _KINDS_OF_USER - 1)]
        own = dice.random(len(users)) < _OWN_STYLE
        style = np.where(own, self.style[users], dice.integers(0, STYLES, len(users)))
        return self._of_group(kind * STYLES + style, dice.random(len(users)))

    def history(self) -> History:
        """What all users did within the last DAYS."""
        orders, others = self._orders(), self._looks()
        ages, users, types, counts, products, quantities = (
            np.concatenate([one, other]) for one, other in zip(orders, others, strict=True)
        )
        first = np.cumsum(counts) - counts
        order = np.argsort(-ages, kind="stable")
        return History(ages[order], users[order], types[order], first[order], counts[order], products, quantities)

    def _orders(self) -> "tuple[Floats | Ints, ...]":
        """Ages, users, types and numbers of lines of baskets; products and quantities of their lines."""
        dice = _dice("orders")
        more = dice.exponential(_MORE_LINES, self.users).astype(np.int64)
        lines = np.minimum(_FEWEST_LINES + more, _MOST_LINES)
        baskets = np.maximum(1, np.round(lines / _LINES_OF_BASKET).astype(np.int64))
        owners = np.repeat(np.arange(self.users), lines)
        basket = (np.cumsum(baskets) - baskets)[owners] + (dice.random(len(owners)) * baskets[owners]).astype(np.int64)
        again = dice.random(len(owners)) < _AGAIN
        staple = self.staples[owners, dice.integers(0, _STAPLES, len(owners))]
        products = np.where(again, staple, self.choose(owners, dice))
        # One line for a product of a basket.
        pairs = np.unique(np.column_stack([basket, products]), axis=0)
        numbers, counts = np.unique(pairs[:, 0], return_counts=True)
        ages = self._ages(len(numbers), dice)
        users = np.repeat(np.arange(self.users), baskets)[numbers]
        quantities = np.where(dice.random(len(pairs)) < 0.15, 2, 1)
        return ages, users, np.full(len(numbers), ORDER), counts, pairs[:, 1], quantities

    def _looks(self) -> "tuple[Floats | Ints, ...]":
        """Views and carts, as _orders; one line each."""
        dice = _dice("looks")
        views = dice.poisson(7.0, self.users)
        users = np.repeat(np.arange(self.users), views)
        products = self.choose(users, dice)
        types = np.where(dice.random(len(users)) < 0.12, CART, VIEW)
        ones = np.ones(len(users), dtype=np.int64)
        return self._ages(len(users), dice), users, types, ones, products, ones

    @staticmethod
    def _ages(count: int, dice: np.random.Generator) -> Floats:
        """Seconds; somewhat more of late, the newest some minutes ago."""
        return 300.0 + (DAYS * 86_400 - 300.0) * dice.random(count) ** 1.3

    def _of_group(self, groups: Ints, share: Floats) -> Ints:
        """The product of each group at a share (0 to 1) of the group's popularity."""
        order, ends, sums = self._by_group
        starts = sums[ends[groups]]
        wanted = starts + share * (sums[ends[groups + 1]] - starts)
        # Rounding must not lead into the next group.
        place = np.clip(np.searchsorted(sums, wanted, "right") - 1, ends[groups], ends[groups + 1] - 1)
        return order[place]

    @cached_property
    def _by_group(self) -> tuple[Ints, Ints, Floats]:
        """What is sold by group, where each group begins, and the popularity of all before each place."""
        group = self.group[: self.sold]
        order = np.argsort(group, kind="stable")
        ends = np.searchsorted(group[order], np.arange(_GROUPS + 1))
        return order, ends, np.append(0.0, np.cumsum(self.popularity[order]))


def _stock(dice: np.random.Generator, size: int) -> Ints:
    return np.where(dice.random(size) < _SOLD_OUT, 0, dice.integers(1, 500, size))


def _dice(purpose: str) -> np.random.Generator:
    """Of its own for each purpose: what one draws changes nothing for the others."""
    return np.random.default_rng([SEED, *purpose.encode()])


def _zipf(size: int, exponent: float, share: Floats) -> Ints:
    """Ranks from 0, by the shares (0 to 1) of the weights 1 / rank ** exponent."""
    sums = np.cumsum(1.0 / np.arange(1, size + 1) ** exponent)
    ranks: Ints = np.minimum(np.searchsorted(sums, share * sums[-1]), size - 1)
    return ranks
