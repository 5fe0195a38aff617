"""CPU of deciding on a page: the shopper through a model version, its sources, merging, ranking, selection.

No service and no store: made-up versions, shoppers with 10 to 60 purchases. CPU time, not the clock's; but what else
runs on the machine takes the caches away. So `least` is told as well, the mean of each shopper's fastest page.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import numpy.typing as npt

from bench.results import FOLDER, circumstances, percentile, publish
from services.recommender.domain.candidates import merge
from services.recommender.domain.deciding import Trained, decide
from services.recommender.domain.everyone import GROUPS
from services.recommender.domain.folding import FoldIn
from services.recommender.domain.learned import COLUMNS, NEIGHBOURS, Learned, Neighbours, build
from services.recommender.domain.personal import personal
from services.recommender.domain.ranker import decode, encode
from services.recommender.domain.ranker_features import FEATURES, assemble
from services.recommender.domain.retrieving import ANYTHING, retrieve
from services.recommender.domain.scoring import Facts
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.signals import UserSignals, habits, session_anchors
from services.recommender.domain.version import Version
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.gathering import gather
from services.recommender.pipeline.sources import CandidateSource, all_sources
from services.recommender.ranking_ports import KeptLists, NewTexts, Retrieval, TextSearch
from services.recommender.serving_configs import load
from services.recommender.training.learning.fitting import fit_forest, fit_logistic
from services.recommender.training.learning.rows import Rows

_NOW = 1_700_000_000.0
_SHOPPERS = 60
_ROUNDS = 10
_PAGE = 10
_FACTORS = 64
_NEAREST = 50
# Lengths of trained vectors by rank in popularity, as of the Complete Journey data; a quarter of the products sells.
_RANKS = (0.0, 0.001, 0.01, 0.05, 0.1, 0.205, 0.25)
_LENGTHS = (4.7, 1.7, 0.584, 0.291, 0.196, 0.0556, 0.0018)

Places = npt.NDArray[np.int64]


@click.command()
@click.option("--products", multiple=True, default=(25_000, 100_000), show_default=True, help="Sizes of versions.")
@click.option("--output", default=FOLDER / "deciding.json", show_default=True, type=click.Path(path_type=Path))
def command(products: Sequence[int], output: Path) -> None:
    """Measures the CPU of deciding on a page of `recommended-for-you`, all but what waits for somebody."""
    about = circumstances()
    measured = {str(size): asyncio.run(measure(size)) for size in products}
    publish({"cpu_ms": measured, "about": about}, output)


async def measure(size: int) -> dict[str, Any]:
    """By kind of ranker, milliseconds of CPU a page, and how many candidates it was chosen from."""
    random = np.random.default_rng(1)
    version, sellers = made_up(size, random)
    shoppers = [shopper(version, sellers, random) for _ in range(_SHOPPERS)]
    nobody = object()
    sources = all_sources(
        cast(Retrieval, nobody), cast(TextSearch, nobody), cast(NewTexts, nobody), cast(KeptLists, nobody)
    )
    page = load(sources)["recommended-for-you"]
    # The others read lists that are the same for everyone, or search around texts.
    known = tuple(spec for spec in page.sources if sources[spec.name].asks_nobody or spec.name == "collaborative")
    config = replace(page, sources=known)
    result: dict[str, Any] = {}
    for name, fit in (("logistic", fit_logistic), ("forest", fit_forest)):
        ranker = decode(encode(fit(rows(version, shoppers, random), FEATURES)))
        served = Version("made-up", version, {config.objective: ranker})
        spent: list[list[float]] = [[] for _ in shoppers]
        candidates: list[int] = []
        for _ in range(_ROUNDS):
            for own, signals in zip(spent, shoppers, strict=True):
                begin = time.thread_time()
                candidates.append(await one_page(config, sources, served, signals))
                own.append((time.thread_time() - begin) * 1_000)
        every = [one for own in spent for one in own]
        least = round(statistics.mean(map(min, spent)), 2)
        result[name] = {"p50": percentile(every, 50), "p99": percentile(every, 99), "least": least}
        result["candidates"] = round(statistics.mean(candidates))
    return result


async def one_page(
    config: ServingConfig, sources: Mapping[str, CandidateSource], version: Version, signals: UserSignals
) -> int:
    """Decides on a page; returns how many candidates it had."""
    learned = version.learned
    assert learned is not None
    person = personal(learned, signals.state(_NOW))
    allowed = np.ones(len(learned), dtype=np.bool_)
    context = Context("u", signals, session_anchors(signals, ()), {}, (), {}, version, person, allowed)
    found = await gather(config, sources, context, _PAGE, Degraded())
    pool = merge(found, {spec.name: spec.weight for spec in config.sources}, known=learned)
    nothing, names = np.full(len(pool), np.nan), [""] * len(pool)
    in_stock = np.zeros(len(pool), dtype=np.bool_)
    facts = Facts(names, names, nothing, nothing, nothing, nothing, nothing, in_stock, places=pool.places)
    trained = Trained(version.rankers[config.objective], person)
    page = decide(config, pool, facts, signals, {}, _PAGE, trained=trained)[:_PAGE]
    assert len(page) == _PAGE
    return len(pool)


def made_up(size: int, random: np.random.Generator) -> tuple[Learned, Sellers]:
    """A version, and what is bought of it how often: few products much, each in a kind of some hundred."""
    kinds = max(20, round(size**0.5))
    kind = random.integers(1, kinds + 1, size)
    rank = random.permutation(size)
    sellers = Sellers(kind, np.power(rank + 1.0, -0.9).astype(np.float64))
    directions = random.normal(size=(kinds + 1, _FACTORS))[kind] + 0.7 * random.normal(size=(size, _FACTORS))
    lengths = np.interp(rank / size, _RANKS, _LENGTHS) / np.linalg.norm(directions, axis=1)
    vectors = (directions * lengths[:, None]).astype(np.float32)
    sold = random.poisson(sellers.weights / sellers.weights.sum() * size * 20)
    columns = {name: random.poisson(sold * 0.2).astype(np.float64) for name in COLUMNS}
    groups = {name: (kind // part + 1).astype(np.int32) for name, part in zip(GROUPS, (50, 8, 1, 2), strict=True)}
    gram = vectors.astype(np.float64).T @ vectors
    tables = {
        name: Neighbours(
            np.column_stack([sellers.of(kind, random) for _ in range(_NEAREST)]).astype(np.int32),
            random.random((size, _NEAREST), dtype=np.float32),
        )
        for name in NEIGHBOURS
    }
    ids = [f"p{number:07d}" for number in range(size)]
    return build(ids, vectors, FoldIn(gram, 0.5, 0.5), tables, columns, groups), sellers


class Sellers:
    """Draws products of kinds by how much they sell."""

    def __init__(self, kinds: Places, weights: npt.NDArray[np.float64]) -> None:
        self.weights = weights
        self.size = int(kinds.max())
        self._order = np.argsort(kinds, kind="stable")
        self._sums = np.append(0.0, np.cumsum(weights[self._order]))
        self._starts = np.searchsorted(kinds[self._order], np.arange(self.size + 2))

    def of(self, kinds: Places, random: np.random.Generator) -> Places:
        """A product of each of ``kinds``."""
        begin, end = self._sums[self._starts[kinds]], self._sums[self._starts[kinds + 1]]
        at = np.searchsorted(self._sums, begin + random.random(len(kinds)) * (end - begin), "right") - 1
        chosen: Places = self._order[np.minimum(at, len(self._order) - 1)]
        return chosen


def shopper(version: Learned, sellers: Sellers, random: np.random.Generator) -> UserSignals:
    """10 to 60 products bought of eight kinds, and every other one has viewed some."""
    tastes = random.integers(1, sellers.size + 1, 8)

    def draw(count: int) -> tuple[str, ...]:
        return tuple(version.ids[place] for place in np.unique(sellers.of(random.choice(tastes, count), random)))

    bought = draw(int(random.integers(10, 61)))
    first = _NOW - random.uniform(100, 300, len(bought)) * 86_400
    table = np.column_stack(
        [random.geometric(0.5, len(bought)), first, first + 90 * 86_400, random.random(len(bought))]
    )
    views = draw(5) if random.random() < 0.5 else ()
    return UserSignals(recent_views=views, purchases=habits(bought, table[:, 3]), bought=bought, bought_table=table)


def rows(version: Learned, shoppers: Sequence[UserSignals], random: np.random.Generator) -> Rows:
    """What a ranker is fitted to; what it learns does not matter, its size does."""
    found = [personal(version, signals.state(_NOW)) for signals in shoppers]
    matrix = np.concatenate([assemble(person, retrieve(person, ANYTHING)[0]) for person in found])
    return Rows(matrix, random.random(len(matrix)) < 0.1, kept=1.0)
