"""The same two questions to windowshop and its peers, and how each one's answer is known to be right."""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.scenarios import BATCH, PRODUCT_FEATURES, USER_FEATURES
from bench.wire import request

Row = Mapping[str, Any]
Rows = Mapping[str, Row]
"""Id -> feature -> value."""

# Popularity decays: ours may be computed again while it is measured, on a scale of 0 to 100.
_DRIFT = 0.5


@dataclass(frozen=True, slots=True)
class Question:
    """The bytes to send; `check` says what is wrong with an answer, or nothing."""

    raw: bytes
    check: Callable[[Any], str]


def difference(answered: Row, known: Row) -> str:
    """Nothing for exactly these features with these values; floats may drift."""
    if answered.keys() != known.keys():
        return "other features"
    for name, value in known.items():
        other = answered[name]
        if isinstance(value, float):
            if not isinstance(other, int | float) or abs(other - value) > _DRIFT:
                return f"{name} {other} instead of {value}"
        elif other != value:
            return f"{name} {other} instead of {value}"
    return ""


def _post(path: str, body: Mapping[str, Any]) -> bytes:
    return request("POST", path, json.dumps(body).encode())


def _columns(ids: Sequence[str], columns: Mapping[str, Sequence[Any]], known: Rows) -> str:
    return _first(difference({k: values[n] for k, values in columns.items()}, known[i]) for n, i in enumerate(ids))


def _first(complaints: Iterable[str]) -> str:
    return next(filter(None, complaints), "")


def windowshop_one(user: str, known: Rows) -> Question:
    return Question(
        request("GET", f"/features/User/{user}?features={','.join(USER_FEATURES)}"),
        lambda answer: difference(answer["features"], known[user]) if answer["id"] == user else "another user",
    )


def windowshop_many(products: Sequence[str], known: Rows) -> Question:
    def check(answer: Any) -> str:
        columns = {name: column["values"] for name, column in answer["columns"].items()}
        return _columns(products, columns, known) if answer["ids"] == products else "other products"

    return Question(_post("/v1/features/Product:batchGet", {"ids": products, "features": PRODUCT_FEATURES}), check)


def fabra_one(user: str, known: Rows) -> Question:
    body = {"entity_name": "User", "entity_id": user, "features": USER_FEATURES}
    return Question(_post("/v1/features", body), lambda answer: difference(answer, known[user]))


def fabra_many(products: Sequence[str], known: Rows) -> Question:
    body = {"name": "Product", "ids": products, "features": PRODUCT_FEATURES}
    return Question(
        _post("/v1/features/batch", body), lambda answer: _first(difference(answer[i], known[i]) for i in products)
    )


def feast_one(user: str, known: Rows) -> Question:
    return _feast("User", [user], USER_FEATURES, known)


def feast_many(products: Sequence[str], known: Rows) -> Question:
    return _feast("Product", products, PRODUCT_FEATURES, known)


def _feast(entity: str, ids: Sequence[str], features: Sequence[str], known: Rows) -> Question:
    key = f"{entity.lower()}_id"
    body = {"features": [f"{entity}:{name}" for name in features], "entities": {key: ids}}

    def check(answer: Any) -> str:
        names = answer["metadata"]["feature_names"]
        columns = dict(zip(names, (result["values"] for result in answer["results"]), strict=True))
        return _columns(ids, columns, known) if columns.pop(key) == ids else "other ids"

    return Question(_post("/get-online-features", body), check)


ONE = {"windowshop": windowshop_one, "fabra": fabra_one, "feast": feast_one}
MANY = {"windowshop": windowshop_many, "fabra": fabra_many, "feast": feast_many}


def draw(system: str, many: bool, known: Rows, ids: Sequence[str], dice: random.Random) -> Question:
    """A question about random entities: one user, or BATCH products, each once."""
    if many:
        return MANY[system](dice.sample(ids, k=BATCH), known)
    return ONE[system](dice.choice(ids), known)
