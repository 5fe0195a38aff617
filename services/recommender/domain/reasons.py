"""Why a product is on the page, in the shopper's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.recommender.domain.candidates import Trace
from services.recommender.domain.signals import Card

# More than three is noise on a product tile.
MAX_REASONS = 3

_AROUND: Mapping[str, str] = {
    "view": "Because you viewed {title}",
    "cart": "Goes with {title} in your cart",
    "purchase": "Because you bought {title}",
    "page": "Similar to {title}",
}
_TOGETHER: Mapping[str, str] = {
    "view": "Chosen by shoppers who looked at {title}",
    "cart": "Chosen by shoppers who took {title}",
    "purchase": "Chosen by shoppers who bought {title}",
    "page": "Chosen by shoppers who took {title}",
}
_IN_A_BASKET: Mapping[str, str] = {
    "view": "Often bought together with {title}",
    "cart": "Goes with {title} in your cart",
    "purchase": "Often bought together with {title}",
    "page": "Often bought together with {title}",
}
_TEXTS = {"semantic": _AROUND, "bought_together": _IN_A_BASKET}
POPULAR = "Popular now"


def reasons(
    traces: Sequence[Trace], category: str, cards: Mapping[str, Card], origins: Mapping[str, str]
) -> tuple[str, ...]:
    """At most MAX_REASONS sentences, strongest source first; at least one.

    ``cards`` and ``origins`` describe the anchors: their titles, and whether they were viewed, bought, ...
    """
    sentences = (_sentence(trace, category, cards, origins) for trace in traces)
    return tuple(dict.fromkeys(sentences))[:MAX_REASONS] or (POPULAR,)


def _sentence(trace: Trace, category: str, cards: Mapping[str, Card], origins: Mapping[str, str]) -> str:
    if trace.anchor is not None and trace.anchor in cards:
        texts = _TEXTS.get(trace.source, _TOGETHER)
        return texts[origins.get(trace.anchor, "page")].format(title=cards[trace.anchor].title)
    match trace.source:
        case "semantic" | "co_chosen":
            return "Matches what you looked at"
        case "collaborative" | "taste" | "alike":
            return "Shoppers like you bought this"
        case "basket" | "bought_together":
            return "Goes with what you take"
        case "buy_again":
            return "Bought by you before"
        case "recently_viewed":
            return "Viewed by you lately"
        case "popular_in_categories" | "popular_in_kinds":
            return f"Popular in {category}" if category else POPULAR
        case "trending" | "rising":
            return "Trending now"
        case "new_arrivals":
            return "New"
        case _:
            return POPULAR
