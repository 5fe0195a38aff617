"""Who a page is for."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Shopper(NamedTuple):
    """A user, or a guest by visitor id; a guest whose id equals a user's is somebody else."""

    id: str
    guest: bool = False

    @property
    def subject(self) -> str:
        """Both in one text."""
        return f"{'guest' if self.guest else 'user'}:{self.id}"

    def digest(self, salt: bytes) -> bytes:
        """Recognises the shopper without naming them."""
        return hashlib.sha256(salt + self.subject.encode()).digest()
