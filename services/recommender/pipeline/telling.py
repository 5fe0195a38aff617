"""What is said of a page: the reasons of its products, and why it is empty."""

from __future__ import annotations

from collections.abc import Sequence

from services.recommender.domain.deciding import Choice
from services.recommender.domain.explaining import MEMORY, Contribution, Explanation
from services.recommender.domain.reasons import reasons
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.signals import UserSignals
from services.recommender.pipeline.context import Ask, Context, Result
from services.recommender.pipeline.finishing import Placed
from services.recommender.pipeline.sources import own_history


def results_of(placed: Sequence[Placed], why: Why | None, ask: Ask) -> tuple[Result, ...]:
    """Those of the page; without a ``why`` the choices have their reasons."""
    explain = ask.explain
    return tuple(
        Result(
            product,
            choice.score,
            choice.reasons if why is None else why.of(choice, product.top_category),
            choice.candidate.traces if explain else (),
            choice.explanation if explain else None,
        )
        for choice, product in placed[: ask.page_size]
    )


class Why:
    """Says why products are on a page."""

    def __init__(self, context: Context) -> None:
        self._cards = context.cards
        self._origins = {anchor.id: anchor.origin for anchor in context.anchors}
        self._said: dict[tuple[str, str], tuple[str, ...]] = {}

    def of(self, choice: Choice, category: str) -> tuple[str, ...]:
        """Of a choice that stands in ``category``; asked again, it is what was said before."""
        id_, _, traces = choice.candidate
        said = self._said.get((id_, category))
        if said is None:
            said = self._said[id_, category] = reasons(traces, category, self._cards, self._origins)
        return said


def explained_from_memory(rank: int) -> Explanation:
    return Explanation((Contribution("memory_rank", 1.0 / rank, 1.0, 1.0 / rank),), (MEMORY,))


def own_products(config: ServingConfig, signals: UserSignals) -> list[str]:
    return [id_ for spec in config.sources for id_ in own_history(spec.name, signals)]


def empty_reason(ask: Ask, config: ServingConfig, signals: UserSignals, degraded: Sequence[str]) -> str:
    if "catalogue" in degraded:
        return "the catalogue is not available"
    if ask.shown:
        return "everything was shown"
    if own_products(config, signals) and not config.fill:
        return "nothing of it is in stock"
    return config.empty_reason
