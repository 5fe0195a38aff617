"""Reads the declarations of the features; a mistake in the file is an error that names its place."""

from __future__ import annotations

import re
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.features.domain.events import EVENT_TYPES
from services.features.domain.features import Entity, Feature, FeatureType, OnEvent, Value
from services.features.domain.relative import Relative

BUNDLED = Path(__file__).with_name("definitions.toml")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FEATURE_KEYS = {
    "entity", "type", "description", "refresh", "ttl", "default", "events", "on_event", "materialize", "on_request",
    "plan_anew", "sql", "relative_to_maximum",
}  # fmt: skip
_RELATIVE_KEYS = {"scale", "half_life", "digits", "maximum"}
_ENTITY_KEYS = {"batch", "known", "active", "of_products", "idle"}


class DefinitionError(ValueError):
    """The definitions file cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """All declarations, in the order of the file."""

    entities: Mapping[str, Entity]
    features: tuple[Feature, ...]


def load(path: Path = BUNDLED) -> Definitions:
    """The bundled declarations, with those of a shop's own file over them: its tables replace or add.

    SQL paths are relative to the file that declares them.
    """
    declared = _tables(BUNDLED)
    if path != BUNDLED:
        declared = {
            kind: tables | own for (kind, tables), own in zip(declared.items(), _tables(path).values(), strict=True)
        }
    features = tuple(_feature(name, table, file) for name, (table, file) in declared["features"].items())
    entities = {
        name: _entity(name, table, file, tuple(f for f in features if f.entity == name))
        for name, (table, file) in declared["entities"].items()
    }
    _check_together(features, entities)
    return Definitions(entities, features)


def _tables(path: Path) -> dict[str, dict[str, tuple[Any, Path]]]:
    """The tables of a file by kind and name, each with the file."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DefinitionError(f"{path.name}: {error}") from error
    _only(data, {"entities", "features"}, "the file")
    result = {}
    for kind in ("entities", "features"):
        tables = data.get(kind, {})
        if not isinstance(tables, dict):
            raise DefinitionError(f"{kind}: must be a table")
        result[kind] = {name: (table, path) for name, table in tables.items()}
    return result


def _check_together(features: tuple[Feature, ...], entities: Mapping[str, Entity]) -> None:
    for entity in entities.values():
        if not entity.features:
            raise DefinitionError(f"entities.{entity.name}: has no feature")
    numbers: dict[int, str] = {0: "the entry for existence"}
    for feature in features:
        if feature.entity not in entities:
            raise DefinitionError(f"features.{feature.name}: there is no entities.{feature.entity}")
        other = numbers.setdefault(feature.number, feature.name)
        if other != feature.name:
            raise DefinitionError(f"features.{feature.name}: its number collides with {other}; choose another name")


def _entity(name: str, table: Any, path: Path, features: tuple[Feature, ...]) -> Entity:
    place = f"entities.{name}"
    _only(table, _ENTITY_KEYS, place)
    if name not in {"User", "Product"}:
        # Events name users and products; another entity needs a way for events to name it first.
        raise DefinitionError(f"{place}: events touch User and Product only")
    batch = table.get("batch", 500)
    if not isinstance(batch, int) or not 1 <= batch <= 5_000:
        raise DefinitionError(f"{place}: batch must be 1 to 5000")
    # What is stored of such a feature is served whatever happens: nobody but the worker would ever compute it.
    needed = any(f.materialize and f.on_event is OnEvent.QUEUE for f in features)
    idle = _statement(table, "idle", path, place) if "idle" in table else None
    return Entity(
        name=name,
        batch=batch,
        features={f.name: f for f in features},
        known=_statement(table, "known", path, place),
        active=_statement(table, "active", path, place),
        of_products=_statement(table, "of_products", path, place) if "of_products" in table else None,
        idle=None if needed else idle,
    )


def _feature(name: str, table: Any, path: Path) -> Feature:
    place = f"features.{name}"
    _only(table, _FEATURE_KEYS, place)
    if _NAME.fullmatch(name) is None:
        raise DefinitionError(f"{place}: a name is a letter, then up to 63 letters, digits and _")
    kind = _choice(FeatureType, table, "type", place)
    refresh, ttl = _duration(table, "refresh", place), _duration(table, "ttl", place)
    if ttl < refresh:
        raise DefinitionError(f"{place}: ttl is shorter than refresh")
    events = table.get("events", [])
    if not isinstance(events, list) or not set(events) <= set(EVENT_TYPES):
        raise DefinitionError(f"{place}: events must be a list of event types")
    on_event, materialize = _choice(OnEvent, table, "on_event", place), _flag(table, "materialize", place)
    if on_event is OnEvent.ALWAYS and (materialize or events):
        raise DefinitionError(
            f'{place}: what is computed on each read (on_event = "always") has no materialize or events'
        )
    sql = _statement(table, "sql", path, place)
    relative = _relative(table, kind, path, place)
    # What another type or statement has left in records is not this feature's: it counts as missing.
    identity = (name, kind.value, sql) if relative is None else (name, kind.value, sql, repr(relative))
    return Feature(
        name=name,
        entity=_text(table, "entity", place),
        type=kind,
        description=_text(table, "description", place),
        refresh_ms=refresh,
        ttl_ms=ttl,
        default=_default(table, kind, place),
        materialize=materialize,
        on_event=on_event,
        on_request=_flag(table, "on_request", place),
        events=frozenset(events),
        sql=sql,
        number=zlib.crc32("\0".join(identity).encode()),
        relative=relative,
        plan_anew=_flag(table, "plan_anew", place),
    )


def _relative(table: Mapping[str, Any], kind: FeatureType, path: Path, place: str) -> Relative | None:
    declared = table.get("relative_to_maximum")
    if declared is None:
        return None
    place = f"{place}: relative_to_maximum"
    _only(declared, _RELATIVE_KEYS, place)
    if kind is not FeatureType.DOUBLE or table.get("on_event") != OnEvent.QUEUE or not table.get("materialize"):
        # The worker keeps the levels, and the greatest is right for as long as none is missing.
        raise DefinitionError(f'{place}: needs type = "double", on_event = "queue" and materialize = true')
    scale, digits = declared.get("scale"), declared.get("digits")
    if type(scale) not in (int, float) or not 0 < scale <= 1e9:
        raise DefinitionError(f"{place}: scale must be a number above 0, up to a billion")
    if type(digits) is not int or not 0 <= digits <= 6:
        raise DefinitionError(f"{place}: digits must be 0 to 6")
    maximum = _statement(declared, "maximum", path, place)
    return Relative(float(scale), _duration(declared, "half_life", place), digits, maximum)


def _only(table: Any, allowed: set[str], place: str) -> None:
    if not isinstance(table, dict):
        raise DefinitionError(f"{place}: must be a table")
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise DefinitionError(f"{place}: unknown {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")


def _text(table: Mapping[str, Any], key: str, place: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"{place}: {key} must be a text")
    return value


def _flag(table: Mapping[str, Any], key: str, place: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise DefinitionError(f"{place}: {key} must be true or false")
    return value


def _choice(kind: Any, table: Mapping[str, Any], key: str, place: str) -> Any:
    try:
        return kind(table.get(key))
    except ValueError:
        raise DefinitionError(f"{place}: {key} must be one of {', '.join(kind)}") from None


def _duration(table: Mapping[str, Any], key: str, place: str) -> int:
    match = _DURATION.fullmatch(str(table.get(key)))
    if match is None:
        raise DefinitionError(f'{place}: {key} must be a number of s, m, h or d, such as "30m"')
    return int(match[1]) * _UNIT_MS[match[2]]


def _statement(table: Mapping[str, Any], key: str, path: Path, place: str) -> str:
    file = path.parent / _text(table, key, place)
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise DefinitionError(f"{place}: {key}: {error.strerror}: {file.name}") from error


_DEFAULT_TYPES: dict[FeatureType, tuple[type, ...]] = {
    FeatureType.INT: (int,),
    FeatureType.DOUBLE: (int, float),
    FeatureType.STRING: (str,),
    FeatureType.BOOL: (bool,),
}


def _default(table: Mapping[str, Any], kind: FeatureType, place: str) -> Value | None:
    value: Any = table.get("default")
    if value is None:
        return None
    if kind is FeatureType.STRING_LIST and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return [str(v) for v in value]
    is_bool, allowed = isinstance(value, bool), _DEFAULT_TYPES.get(kind, ())
    if type(value) not in allowed or is_bool != (kind is FeatureType.BOOL):
        raise DefinitionError(f"{place}: default does not fit type {kind.value}")
    default: Value = float(value) if kind is FeatureType.DOUBLE else value
    return default
