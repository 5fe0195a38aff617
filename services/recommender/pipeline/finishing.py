"""The last step of a page: what may be shown at this very moment, with its details; short pages are filled."""

from __future__ import annotations

from collections.abc import Sequence

from services.recommender.domain.candidates import Candidate, Trace
from services.recommender.domain.deciding import Choice
from services.recommender.domain.explaining import FILL, Explanation
from services.recommender.domain.product import Product
from services.recommender.domain.showing import Hidden
from services.recommender.pipeline.deadline import within
from services.recommender.pipeline.metrics import DROPPED
from services.recommender.pipeline.shelf import Shelf
from services.recommender.ranking_ports import Retrieval

# Beyond the page, for products that were sold out since the searches read them: one question is the rule.
SPARE = 5

# In the place of a source in the traces of products that no source found.
_ANYTHING = "fill"
_FILLED = Explanation(moved_by=(FILL,))

Placed = tuple[Choice, Product]


class Finisher:
    """Asks the store of record, which sees every acknowledged change of stock, right before the answer."""

    def __init__(self, shelf: Shelf, retrieval: Retrieval) -> None:
        self._shelf = shelf
        self._retrieval = retrieval

    async def finish(self, choices: Sequence[Choice], page_size: int) -> list[Placed]:
        """The first ``page_size`` choices that are available, with their products. Raises when the store is away."""
        if not choices:
            # That there is nothing to show is said by a store that answers: an outage looks the same.
            await self._shelf.available(())
        placed: list[Placed] = []
        start = 0
        while len(placed) < page_size and start < len(choices):
            batch = choices[start : start + page_size - len(placed) + SPARE]
            start += len(batch)
            products = await self._shelf.available([choice.candidate.id for choice in batch])
            DROPPED.inc(len(batch) - len(products))
            placed += [(choice, products[choice.candidate.id]) for choice in batch if choice.candidate.id in products]
        return placed[:page_size]

    async def fill(self, count: int, hidden: Hidden) -> list[Placed]:
        """Up to ``count`` of anything in stock that is not hidden. Raises when the store is away."""
        hits = await within(None, self._retrieval.anything(count + SPARE + len(hidden.shown), list(hidden.ids)))
        unseen = [hit for hit in hits if hit.id not in hidden]
        choices = [
            Choice(Candidate(hit.id, 0.0, (Trace(_ANYTHING, rank, 0.0, None),)), 0.0, "", _FILLED)
            for rank, hit in enumerate(unseen, start=1)
        ]
        return await self.finish(choices, count)
