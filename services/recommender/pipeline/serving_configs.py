"""The serving configs that serve: the bundled ones with the edits of the store laid over them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.recommender import serving_configs
from services.recommender.domain.serving import ServingConfig
from services.recommender.pipeline.metrics import CONFIGS_BROKEN, forget_config
from services.recommender.serving_ports import ServingConfigStore, StoredConfig
from services.runtime.errors import failed_precondition, not_found
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Each one has metrics of its own, and all are read every second.
MAX_EDITS = 100


@dataclass(frozen=True, slots=True)
class Served:
    """A config as it serves; ``origin`` is a name of the contract's ConfigOrigin."""

    config: ServingConfig
    origin: str
    update_time: datetime | None = None

    @property
    def etag(self) -> str:
        return serving_configs.etag(self.config)


# From what serves under an id (None: nothing) to the config that shall serve.
Decide = Callable[[Served | None], ServingConfig]


class ServingConfigs:
    """Answers from memory; follows the store. Without the store, what was read last goes on serving."""

    def __init__(
        self, bundled: Mapping[str, ServingConfig], store: ServingConfigStore, known_sources: Collection[str]
    ) -> None:
        self._bundled = {config.id: Served(config, "BUNDLED") for config in bundled.values()}
        self._store = store
        self._known_sources = known_sources
        self._served: Mapping[str, Served] = self._bundled
        # Told once, not every second.
        self._complained: set[StoredConfig] = set()

    def get(self, config_id: str) -> ServingConfig | None:
        """The config that serves at this moment."""
        served = self._served.get(config_id)
        return served.config if served else None

    def served(self, config_id: str) -> Served | None:
        """The same with where it comes from."""
        return self._served.get(config_id)

    def page(self, after: str, limit: int) -> list[Served]:
        """Up to ``limit`` with ids above ``after``, ascending."""
        ids = sorted(config_id for config_id in self._served if config_id > after)
        return [self._served[config_id] for config_id in ids[:limit]]

    async def edit(self, config_id: str, decide: Decide, *, validate_only: bool = False) -> Served:
        """Makes what ``decide`` says of the newest state serve, here at once; returns it.

        What ``decide`` raises is passed on. Raises UNAVAILABLE when the store is away.
        """
        if validate_only:
            await self.refresh()
            return Served(decide(self._served.get(config_id)), self._origin(config_id))

        def declaration(stored: StoredConfig | None, count: int) -> str:
            config = decide(self._laid_over(config_id, stored))
            if stored is None and count >= MAX_EDITS:
                raise failed_precondition("TOO_MANY_SERVING_CONFIGS", f"at most {MAX_EDITS} may be edited or created")
            return serving_configs.encode(config)

        stored = await self._store.change(config_id, declaration)
        assert stored is not None  # noqa: S101 - nothing was removed
        await self.refresh()
        return self._read(stored)

    async def take_back(self, config_id: str, check: Callable[[Served], None]) -> Served | None:
        """Removes an edit, one that cannot be read too; returns the bundled config that serves again, if there is one.

        ``check`` may refuse by raising. Raises NOT_FOUND, FAILED_PRECONDITION where there is no edit, and UNAVAILABLE.
        """

        def nothing(stored: StoredConfig | None, _: int) -> None:
            served = self._laid_over(config_id, stored)
            if stored is None and served is None:
                raise not_found("SERVING_CONFIG_NOT_FOUND", "there is no such serving config")
            if served is not None:
                check(served)
            if stored is None:
                raise failed_precondition(
                    "SERVING_CONFIG_BUNDLED", "it came with the service and was not edited: there is nothing to delete"
                )

        await self._store.change(config_id, nothing)
        await self.refresh()
        return self._bundled.get(config_id)

    async def refresh(self) -> None:
        """Reads the store. Raises UNAVAILABLE when it is away; what serves stays as it was then."""
        edits = await self._store.all()
        served: dict[str, Served] = dict(self._bundled)
        broken: set[StoredConfig] = set()
        for stored in edits:
            try:
                served[stored.id] = self._read(stored)
            except ValueError as error:
                broken.add(stored)
                if stored not in self._complained:
                    log.error("serving_config_broken", serving_config=stored.id, error=str(error))
        CONFIGS_BROKEN.set(len(broken))
        self._complained = broken
        for config_id in self._served.keys() - served.keys():
            forget_config(config_id)
        self._served = served

    def _laid_over(self, config_id: str, stored: StoredConfig | None) -> Served | None:
        if stored is not None:
            try:
                return self._read(stored)
            except ValueError:
                log.debug("serving_config_broken", serving_config=config_id)
        return self._bundled.get(config_id)

    def _read(self, stored: StoredConfig) -> Served:
        config = serving_configs.decode(stored.id, stored.declaration, self._known_sources)
        return Served(config, self._origin(stored.id), stored.update_time)

    def _origin(self, config_id: str) -> str:
        return "EDITED" if config_id in self._bundled else "CREATED"
