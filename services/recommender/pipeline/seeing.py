"""The shopper through the eyes of the model version that serves, and what of the version a serving config asks for."""

from __future__ import annotations

from collections.abc import Sequence

from services.recommender.domain.deciding import Trained
from services.recommender.domain.moments import Moment
from services.recommender.domain.personal import SOURCES, Personal, personal
from services.recommender.domain.scoring import effective_weights
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.signals import UserSignals
from services.recommender.domain.version import Version
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.hydrating import Wants
from services.recommender.pipeline.stock import Mask, Stock
from services.runtime.logs import get_logger

log = get_logger(__name__)


def see(
    config: ServingConfig,
    version: Version,
    signals: UserSignals,
    now: float,
    degraded: Degraded,
    device: str = "",
) -> Personal | None:
    """None where the version knows nothing, or nothing of ``config`` asks; ``now`` is in seconds since 1970."""
    if not _asks(config):
        return None
    if version.learned is None:
        if version.broken:
            degraded.add("model")
        return None
    try:
        return personal(version.learned, signals.state(now), Moment.at(now, device))
    except Exception as error:
        # A bug, or a version like no other: the page is made of what needs none.
        log.error("shopper_not_seen", model=version.id, error=type(error).__name__, exc_info=error)
        degraded.add("model")
        return None


def candidates_of(person: Personal, stock: Stock, hidden: Sequence[str]) -> Mask | None:
    """Which of the version's products may be candidates: those in stock but for ``hidden``; None: nobody knows."""
    mask = stock.mask(person.learned)
    if mask is None or not hidden:
        return mask
    allowed = mask.copy()
    places = person.learned.find(hidden)
    allowed[places[places >= 0]] = False
    return allowed


def trained_for(config: ServingConfig, context: Context) -> Trained | None:
    """The ranker that orders this page; None: the weights do."""
    ranker = context.version.rankers.get(config.objective)
    return None if ranker is None or context.person is None else Trained(ranker, context.person)


def wants(config: ServingConfig, *, ranked: bool, in_session: bool) -> Wants:
    """What has to be read of the candidates."""
    weights = effective_weights(config.weights, ranked=ranked, in_session=in_session)
    return Wants(
        features=any(weights[column] != 0.0 for column in ("popularity", "rating")),
        similarity=weights["session_similarity"] != 0.0,
        prices=weights["price_fit"] != 0.0,
        collaborative=weights["collaborative"] != 0.0,
        vectors=config.diversity.mmr_vectors if config.diversity.needs_vectors else "",
    )


def _asks(config: ServingConfig) -> bool:
    if config.objective != "weights" or any(source.name in SOURCES for source in config.sources):
        return True
    if config.diversity.needs_vectors and config.diversity.mmr_vectors == "model":
        return True
    return effective_weights(config.weights, ranked=False, in_session=True)["collaborative"] != 0.0
