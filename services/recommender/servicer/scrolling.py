"""Page tokens of recommendations: they carry what was shown, so that no page repeats it and no server remembers it.

A token of a place in a list would not do: the list is another one after each click.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from services.recommender.domain.showing import FINGERPRINT_BYTES, MAX_SHOWN, fingerprint
from services.recommender.pipeline.context import Answer, Ask
from services.recommender.servicer.paging import refused, seal, unseal


def continued(ask: Ask, token: str) -> Ask:
    """``ask`` for the page that ``token`` stands for; raises INVALID_ARGUMENT for a token of another question."""
    if not token:
        return ask
    key = unseal(_scope(ask), token)
    shown = tuple(key[start : start + FINGERPRINT_BYTES] for start in range(0, len(key), FINGERPRINT_BYTES))
    if not 0 < len(shown) < MAX_SHOWN or len(shown[-1]) != FINGERPRINT_BYTES:
        raise refused()
    return replace(ask, shown=shown, page_size=min(ask.page_size, MAX_SHOWN - len(shown)))


def next_token(ask: Ask, answer: Answer) -> str:
    """The token of the page after ``answer``; empty when there is none."""
    shown = (*ask.shown, *(fingerprint(result.product.id) for result in answer.results))
    if not answer.more or len(shown) >= MAX_SHOWN:
        return ""
    return seal(_scope(ask), b"".join(shown))


def _scope(ask: Ask) -> bytes:
    """What must stay the same from page to page, in 16 bytes. No id has a line feed."""
    question = "\n".join((ask.serving_config, ask.user_id, "" if ask.user_id else ask.visitor_id, *ask.product_ids))
    return hashlib.blake2b(question.encode(), digest_size=16).digest()
