"""The text of a product that its embedding stands for."""

from __future__ import annotations

import hashlib

from services.recommender.domain.product import Product

# About 250 words: more says nothing new about what a product is, and a batch of long texts would cost memory.
MAX_TEXT = 1_500

# Part of every digest: with another model or another recipe, all embeddings are outdated and made anew.
RECIPE = b"wordllama-256/1"


def embedding_text(product: Product) -> str:
    """``title. brand. categories. description``, most telling first, cut to 1,500 characters."""
    parts = (product.title, product.brand, *product.categories, product.description)
    return ". ".join(part for part in parts if part)[:MAX_TEXT]


def text_digest(product: Product) -> bytes:
    """16 bytes that change when, and only when, the embedding must."""
    return hashlib.blake2b(embedding_text(product).encode(), digest_size=16, key=RECIPE).digest()
