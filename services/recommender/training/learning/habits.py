"""At which times of day, and from which devices, products are taken more than others.

Most products are taken at all times alike, and what looks like a habit of theirs is chance. So shares are drawn towards
those of the product's kind, and these towards everybody's, as strongly as the data says: all the way where products
differ by no more than chance. Then the columns are 0, and no ranker learns anything from them.
"""

from __future__ import annotations

import math

import numpy as np

from services.recommender.domain.learned import Codes, Floats, Singles
from services.recommender.domain.moments import DAYPARTS, Habits, daypart_of
from services.recommender.training.learning.log import Ints, Log

# Differences below so many standard errors are chance.
_ERRORS = 3.0


def habits(past: Log, kinds: Codes) -> Habits:
    """``kinds``: the code of each product's kind."""
    known = past.pick(past.devices >= 0) if len(past.devices) else past.pick(slice(0, 0))
    names = tuple(past.device_names)
    return Habits(
        _lifts(past, daypart_of(past.times).astype(np.int64), DAYPARTS, kinds.astype(np.int64)),
        names,
        _lifts(known, known.devices.astype(np.int64), len(names), kinds.astype(np.int64)),
    )


def _lifts(rows: Log, contexts: Ints, count: int, kinds: Ints) -> Singles:
    """Products and the unknown x contexts and the unknown one: log of the share within the context over the share
    within all."""
    size = len(rows.product_ids)
    result = np.zeros((size + 1, count + 1), dtype=np.float32)
    known = np.unique(contexts)
    if len(known) < 2:
        return result
    contexts = np.searchsorted(known, contexts)
    own = _shoppers(rows, rows.products.astype(np.int64), size, contexts, len(known))
    of_kind = _shoppers(rows, kinds[rows.products], int(kinds.max(initial=0)) + 1, contexts, len(known))
    usual = own.sum(axis=0) / own.sum()
    share = _drawn(own, _drawn(of_kind, np.broadcast_to(usual, of_kind.shape))[kinds])
    result[:size, known] = np.log(share / usual)
    return result


def _shoppers(rows: Log, groups: Ints, size: int, contexts: Ints, count: int) -> Floats:
    """Of each group and context, how many shoppers took something; who takes it every morning is one shopper of
    mornings."""
    cells = groups * count + contexts
    pairs = np.unique(cells * max(1, rows.user_count) + rows.users)
    return np.bincount(pairs // max(1, rows.user_count), minlength=size * count).reshape(size, count).astype(np.float64)


def _drawn(counts: Floats, expected: Floats) -> Floats:
    """Shares of each row's contexts, drawn towards those expected."""
    strength = _strength(counts, expected)
    if math.isinf(strength):
        return expected
    shares: Floats = (counts + strength * expected) / (counts.sum(axis=1, keepdims=True) + strength)
    return shares


def _strength(counts: Floats, expected: Floats) -> float:
    """How many shoppers' worth the expected shares are, by the method of moments: the rows' chi-squared, which chance
    alone makes as large as their degrees of freedom, and which shares that vary by row make larger."""
    total = counts.sum(axis=1)
    rows = total > 1
    counts, expected, total = counts[rows], expected[rows], total[rows]
    width = counts.shape[1]
    squares = float(((counts - total[:, None] * expected) ** 2 / (total[:, None] * expected)).sum())
    freedom = len(total) * (width - 1)
    rare = (1 / expected).sum(axis=1) - width**2 - 2 * width + 2
    error = math.sqrt(max(0.0, float((2 * (width - 1) + rare / total).sum())))
    beyond = squares - freedom
    if beyond <= _ERRORS * error:
        return math.inf
    strength: float = max(1.0, float((total - 1).sum()) * (width - 1) / beyond - 1)
    return strength
