"""What a page must not show: what the request excludes, and what the pages before it showed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

# Over all pages. Nobody scrolls further, and a page token names them all.
MAX_SHOWN = 500

# So that a token of 500 fits into a URL, where ids of 128 characters would not. A page's 120 candidates against 500
# shown ones: one page in twenty million lacks a product that was not shown.
FINGERPRINT_BYTES = 5


def fingerprint(product_id: str) -> bytes:
    """A short stand-in for an id, the same in every process and version."""
    return hashlib.blake2b(product_id.encode(), digest_size=FINGERPRINT_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Hidden:
    """Products by id, and products that were shown, by fingerprint."""

    ids: frozenset[str]
    shown: frozenset[bytes] = frozenset()

    def __contains__(self, product_id: object) -> bool:
        if product_id in self.ids:
            return True
        return bool(self.shown) and isinstance(product_id, str) and fingerprint(product_id) in self.shown

    def __bool__(self) -> bool:
        return bool(self.ids or self.shown)

    def among(self, ids: Sequence[str]) -> list[bool]:
        """Of each of ``ids`` whether it is one of these."""
        return [id_ in self for id_ in ids] if self.shown else [id_ in self.ids for id_ in ids]

    def and_also(self, ids: Collection[str]) -> Hidden:
        """These and ``ids``."""
        return Hidden(self.ids.union(ids), self.shown)
