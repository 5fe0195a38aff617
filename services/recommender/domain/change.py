"""What followers of the catalogue are told, and the cursor that says how far they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_CURSOR = re.compile(r"([0-9a-f]{32})\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class ProductChange:
    """The newest state of one product; ``change_seq`` rises in the order of commits.

    ``deleted``: the product is gone and the other values mean nothing.
    """

    change_seq: int
    product_id: str
    deleted: bool
    top_category: str = ""
    price: float | None = None
    available_quantity: int = 0
    low_stock_threshold: int = 0
    rating_average: float | None = None
    rating_count: int = 0
    brand: str = ""


class Stored(NamedTuple):
    """What a write came to: the change that it made, 0 where the product was stored like that already, and the stock,
    which may be that of a newer count than was sent."""

    change_seq: int
    available_quantity: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to ``change_seq`` of the catalogue named ``epoch`` was received."""

    epoch: str
    change_seq: int

    def encode(self) -> str:
        """Opaque to the receiver."""
        return f"{self.epoch}.{self.change_seq}"

    @classmethod
    def decode(cls, text: str) -> Cursor | None:
        """None: this is no cursor."""
        match = _CURSOR.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None

    def continues(self, epoch: str, head: int) -> bool:
        """Whether a catalogue named ``epoch`` whose newest change is ``head`` can go on from here.

        A cursor ahead of it was given out before the catalogue was set back, by a restored backup for example.
        """
        return self.epoch == epoch and self.change_seq <= head
