"""Which label windows a log is long enough for."""

from __future__ import annotations

from services.recommender.training.learning.log import CART, DAY, PURCHASE, VIEW, Log
from services.recommender.training.learning.rows import Window

# Those that a ranker is trained on, and before them one more: while it is judged, it is trained on the older ones.
WINDOWS = 3

# Four weeks: of whole weeks, so that every window has the same weekdays.
LONGEST_DAYS = 28.0
SHORTEST_DAYS = 1.0
# Of the log in all, so that the oldest window has a third of it for its past.
_SHARE = 6

# Shoppers who took something in a window, below which carts and views are asked as well.
_FEWEST_TAKERS = 50


def label_windows(log: Log) -> tuple[Window, ...]:
    """WINDOWS + 1 windows, the newest first, up to the newest row; none for a log of less than six days."""
    if not len(log):
        return ()
    end = float(log.times[-1]) + 1.0
    days = min(LONGEST_DAYS, (end - float(log.times[0])) / DAY / _SHARE)
    if days < SHORTEST_DAYS:
        return ()
    if days > 7:
        days -= days % 7
    span = days * DAY
    return tuple(Window(end - span * (number + 1), end - span * number) for number in range(WINDOWS + 1))


def label_types(log: Log, windows: tuple[Window, ...]) -> tuple[int, ...]:
    """Purchases; with carts, and then with views, where there are too few takers to learn from."""
    for types in ((PURCHASE,), (PURCHASE, CART)):
        takers = [len(set(log.between(window.start, window.end).of(*types).users.tolist())) for window in windows]
        if takers and min(takers) >= _FEWEST_TAKERS:
            return types
    return (PURCHASE, CART, VIEW)
