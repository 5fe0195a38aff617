"""What reads ask for, checked: of a list of many ids that comes again and again, once."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.features.definitions import Definitions
from services.features.domain.events import guest
from services.features.domain.features import Entity, Feature
from services.features.marking import USER
from services.runtime.errors import ServiceError, invalid_argument, invalid_field, not_found
from services.runtime.generations import Repeated
from services.runtime.identifiers import check_ids

MAX_FEATURES = 100
MAX_IDS = 1_000
# The entity type of guests: users in all but their ids.
VISITOR = "Visitor"

# Ids from which on a question is remembered when it comes again, as the products of a shop's page do.
MANY = 20
# Bytes of questions that one generation remembers, of two, what an id takes in one, and seconds.
_ROOM, _ID, _LIFE = 8_000_000, 80, 60.0


class Question(NamedTuple):
    """Features of entities of one type; ``subjects``: the ids by which the log and the records know them."""

    entity: Entity
    features: tuple[Feature, ...]
    subjects: tuple[str, ...]


class Questions:
    """Finds what the names in requests mean; raises INVALID_ARGUMENT and NOT_FOUND."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        # Few callers ask for different things.
        self.meant = functools.lru_cache(256)(self._meant)
        self._known: Repeated[bytes, Question] = Repeated(_ROOM, _LIFE)

    def again(self, entity_name: str, ids: Sequence[str], names: Sequence[str], said: Callable[[], bytes]) -> Question:
        """`batch` of a caller who may ask the same again; ``said``: all of it as bytes."""
        if len(ids) < MANY:
            return self.batch(entity_name, ids, names)
        key, now = said(), time.monotonic()
        question = self._known.get(key, now)
        if question is None:
            question = self.batch(entity_name, ids, names)
            self._known.keep(key, question, len(key) + _ID * len(question.subjects), now)
        return question

    def batch(self, entity_name: str, ids: Sequence[str], names: Sequence[str]) -> Question:
        """Of many ids."""
        entity, features = self.meant(entity_name, tuple(names))
        if not 1 <= len(ids) <= MAX_IDS:
            raise invalid_field("ids", f"must be 1 to {MAX_IDS}")
        ids = tuple(ids)
        check_ids(ids, "ids")
        return Question(entity, features, subjects(entity_name, ids))

    def _meant(self, entity_name: str, names: tuple[str, ...]) -> tuple[Entity, tuple[Feature, ...]]:
        """The entity type and its features; each once, in their order."""
        entities = self._definitions.entities
        entity = entities.get(USER if entity_name == VISITOR else entity_name)
        if entity is None:
            known = ", ".join([*entities, *([VISITOR] if USER in entities else [])])
            raise not_found("ENTITY_TYPE_NOT_FOUND", f"there is no such entity type; there are {known}")
        if len(names) > MAX_FEATURES:
            raise invalid_field("features", f"at most {MAX_FEATURES}")
        if not names:
            return entity, tuple(f for f in entity.features.values() if not f.on_request)
        features = []
        for place, name in enumerate(dict.fromkeys(names)):
            feature = entity.features.get(name)
            if feature is None:
                raise no_feature(entity_name, name, place)
            features.append(feature)
        return entity, tuple(features)


def subjects(entity_name: str, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The ids under which the log and the records know what a request names."""
    return tuple(map(guest, ids)) if entity_name == VISITOR else ids


def no_feature(entity_name: str, name: str, place: int) -> ServiceError:
    """A name that could be a feature's is repeated in the error; anything else is not."""
    if not (len(name) <= 64 and name.isidentifier() and name.isascii()):
        return invalid_argument(f"features[{place}] is not a feature name", reason="INVALID_FEATURE_NAME")
    return not_found("FEATURE_NOT_FOUND", f"{entity_name} has no feature {name}", entity=entity_name, feature=name)
