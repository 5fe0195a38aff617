"""A small shop's log and catalogue in arrays: shoppers of two tastes who buy again what they use up."""

from __future__ import annotations

import numpy as np

from services.recommender.training.interactions import Kind, catalogue
from services.recommender.training.learning.log import CART, DAY, PURCHASE, VIEW, Catalogue, Log

NOW = 1_700_000_000.0


def kinds(products: int = 60) -> list[Kind]:
    """Even products belong to one department, odd ones to another; each has a few kinds and brands."""
    return [
        Kind(f"D{number % 2} > C{number % 6} > K{number % 12}", f"B{number % 5}", 1.0 + number % 7)
        for number in range(products)
    ]


def shop(
    *, users: int = 80, products: int = 60, days: float = 200.0, seed: int = 7, purchases: bool = True
) -> tuple[Log, Catalogue]:
    """Each shopper has eight favourites of one department, bought about every ten days, and tries others."""
    random = np.random.default_rng(seed)
    rows: list[tuple[float, int, int, int, int]] = []
    order = 0
    for user in range(users):
        department = np.arange(user % 2, products, 2)
        favourites = random.choice(department, 8, replace=False)
        time = NOW - days * DAY + float(random.uniform(0, min(5, days / 2))) * DAY
        while time < NOW:
            order += 1
            basket = set(random.choice(favourites, 3, replace=False).tolist())
            basket.add(int(random.choice(department)))
            for product in sorted(basket):
                rows.append((time - 60, user, product, VIEW, -order * 100 - product))
                if purchases:
                    rows.append((time - 30, user, product, CART, -order * 100 - 50 - product))
                    rows.append((time, user, product, PURCHASE, order))
            time += float(random.uniform(3, 9)) * DAY
    rows.sort()
    times, owners, chosen, types, events = (np.array(column) for column in zip(*rows, strict=True))
    log = Log(
        [f"p{number:03d}" for number in range(products)],
        users,
        owners.astype(np.int32),
        chosen.astype(np.int32),
        types.astype(np.int8),
        times.astype(np.float64),
        events.astype(np.int64),
    )
    return log, catalogue(kinds(products))
