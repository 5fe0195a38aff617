"""The shape of the shop's vocabulary: a leaf category and the words its products are made of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leaf:
    """A category that holds products, and what its products are called and good for."""

    path: str
    """For example "Electronics > Audio > Headphones": two or three levels."""
    price: float
    """Median price in EUR of a middle-of-the-road brand."""
    kinds: tuple[str, ...]
    traits: tuple[str, ...]
    """Words that go before a kind; kinds x traits is more than the products of a leaf."""
    uses: tuple[str, ...]
    """Phrases that complete "for ..."."""
    details: tuple[str, ...]
    """Whole sentences that hold for every product of the leaf."""
    consumable: bool
    """Bought again and again, often in twos and threes."""

    @property
    def department(self) -> str:
        """The top-level category."""
        return self.path.split(" > ", 1)[0]

    @property
    def name(self) -> str:
        """The last level, which is what people search for."""
        return self.path.rsplit(" > ", 1)[-1]


@dataclass(frozen=True, slots=True)
class Department:
    """A top-level category: its brands from the cheapest to the dearest, and its leaves."""

    brands: tuple[str, ...]
    leaves: tuple[Leaf, ...]


def leaf(
    path: str, price: float, *, kinds: str, traits: str, uses: str, details: str, consumable: bool = False
) -> Leaf:
    """A leaf from lists written as "one; two; three", which read better in long tables."""
    return Leaf(path, price, listed(kinds), listed(traits), listed(uses), listed(details), consumable)


def department(brands: str, *leaves: Leaf) -> Department:
    """A department from its brands, written as in `leaf`."""
    return Department(listed(brands), leaves)


def listed(text: str) -> tuple[str, ...]:
    """The parts of a list written as "one; two; three"."""
    return tuple(part.strip() for part in text.split(";"))
