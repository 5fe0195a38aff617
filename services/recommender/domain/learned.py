"""What a model version knows of products: vectors, neighbours and numbers, each product in one row of every array.

The last row of each array stands for every product that the version does not know, so the place -1 finds it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from services.recommender.domain.everyone import GROUPS, Everyone, everyone
from services.recommender.domain.folding import FoldIn
from services.recommender.domain.moments import Habits, without_habits

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


# Neighbours by what they are made of: what the same people take (alike: by cosine, taste: by regression, which sees
# through popularity), and what goes into one basket.
NEIGHBOURS = ("taste", "alike", "basket")

# The raw numbers of products, see training/columns.py; counts of order lines and of first purchases by days back.
COLUMNS = (
    "sold_7d",
    "sold_28d",
    "sold_91d",
    "sold_ever",
    "sold_before_28d",
    "new_buyers_7d",
    "new_buyers_28d",
    "new_buyers_91d",
    "buyers",
    "repeaters",
    "gap_days",
    "age_days",
    "log_price",
    "price_rank",
    "wanted_7d",
    "wanted_28d",
    "rating",
)

# Those that versions trained before there were any do not have. Nothing that was trained with them reads it.
_LATER = frozenset({"rating"})

ARTIFACT = "learned"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of each product the places and weights of up to k others, in no order; unused ones are -1 with weight 0."""

    places: Codes
    weights: Singles


@dataclass(frozen=True, slots=True)
class Learned:
    """One version's knowledge of n products: arrays of n + 1 rows."""

    ids: Sequence[str]
    vectors: Singles
    fold: FoldIn
    neighbours: Mapping[str, Neighbours]
    columns: Mapping[str, Floats]
    # Code 0: the product has none.
    groups: Mapping[str, Codes]
    habits: Habits
    # What follows from them.
    places: Mapping[str, int]
    everyone: Everyone

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: Sequence[str]) -> Places:
        """The place of each id; -1 where the version does not know it."""
        return np.fromiter(map(self.places.get, ids, repeat(-1)), dtype=np.int64, count=len(ids))


def sums(codes: npt.NDArray[np.integer], values: Floats, size: int) -> Floats:
    """The values added up by their codes, which are below ``size``."""
    added: Floats = np.bincount(codes, weights=values, minlength=size).astype(np.float64, copy=False)
    return added


def build(
    ids: Sequence[str],
    vectors: Singles,
    fold: FoldIn,
    neighbours: Mapping[str, Neighbours],
    columns: Mapping[str, Floats],
    groups: Mapping[str, Codes],
    habits: Habits | None = None,
) -> Learned:
    """A version from arrays of n rows: adds the row of the unknown, and what follows from the arrays. ``habits`` has
    that row already; None: nothing is known of them."""
    padded = {name: np.append(columns[name].astype(np.float64), _UNKNOWN.get(name, 0.0)) for name in COLUMNS}
    codes = {name: np.append(groups[name].astype(np.int32), np.int32(0)) for name in GROUPS}
    # Rows stay together, however the arrays came: what is compiled goes along them.
    singles = np.vstack([vectors, np.zeros((1, vectors.shape[1]))]).astype(np.float32, order="C")
    return Learned(
        ids=tuple(ids),
        vectors=singles,
        fold=fold,
        neighbours={
            name: Neighbours(
                np.vstack([table.places, np.full((1, table.places.shape[1]), -1)]).astype(np.int32, order="C"),
                np.vstack([table.weights, np.zeros((1, table.weights.shape[1]))]).astype(np.float32, order="C"),
            )
            for name, table in neighbours.items()
        },
        columns=padded,
        groups=codes,
        habits=without_habits(len(ids)) if habits is None else habits,
        places={id_: place for place, id_ in enumerate(ids)},
        everyone=everyone(singles, padded, codes),
    )


# What stands for a product without any history where zero would say something else.
_UNKNOWN: Mapping[str, float] = {"gap_days": 60.0, "price_rank": 0.5}


def encode(learned: Learned) -> bytes:
    """For the store; :func:`decode` reads it."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "ids": np.array([id_.encode() for id_ in learned.ids], dtype=np.bytes_),
        "vectors": learned.vectors[:-1],
        "gram": learned.fold.gram,
        "fold": np.array([learned.fold.regularization, learned.fold.alpha]),
        "dayparts": learned.habits.dayparts.astype(np.float16),
        "devices": learned.habits.devices.astype(np.float16),
        "device_names": np.array([name.encode() for name in learned.habits.device_names], dtype=np.bytes_),
    }
    arrays |= {f"column_{name}": values[:-1].astype(np.float32) for name, values in learned.columns.items()}
    arrays |= {f"group_{name}": codes[:-1] for name, codes in learned.groups.items()}
    for name, table in learned.neighbours.items():
        arrays[f"near_places_{name}"] = table.places[:-1]
        arrays[f"near_weights_{name}"] = table.weights[:-1].astype(np.float16)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stub knows allow_pickle as its only name
    return file.getvalue()


def decode(content: bytes) -> Learned:
    """What :func:`encode` wrote, also when there was less to write, and what follows from it. Raises ValueError or
    KeyError for anything else."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        regularization, alpha = arrays["fold"].tolist()
        learned = build(
            ids=[id_.decode() for id_ in arrays["ids"].tolist()],
            vectors=arrays["vectors"],
            fold=FoldIn(arrays["gram"], regularization, alpha),
            neighbours={
                name: Neighbours(arrays[f"near_places_{name}"], arrays[f"near_weights_{name}"].astype(np.float32))
                for name in NEIGHBOURS
            },
            columns={name: _column(arrays, name) for name in COLUMNS},
            groups={name: arrays[f"group_{name}"] for name in GROUPS},
            habits=_habits(arrays),
        )
    return _sound(learned)


def _column(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Floats:
    if name in _LATER and f"column_{name}" not in arrays:
        return np.zeros(len(arrays["ids"]))
    return arrays[f"column_{name}"].astype(np.float64)


def _habits(arrays: Mapping[str, npt.NDArray[Any]]) -> Habits | None:
    if "dayparts" not in arrays:
        return None
    return Habits(
        arrays["dayparts"].astype(np.float32),
        tuple(name.decode() for name in arrays["device_names"].tolist()),
        arrays["devices"].astype(np.float32),
    )


def _sound(learned: Learned) -> Learned:
    """It, if its arrays fit each other: what breaks in the middle of a request costs the page. Raises ValueError."""
    rows, factors = len(learned) + 1, learned.vectors.shape[1]
    singles: list[npt.NDArray[np.generic]] = [*learned.columns.values(), *learned.groups.values()]
    fitting = all(values.shape == (rows,) for values in singles) and learned.fold.gram.shape == (factors, factors)
    for table in learned.neighbours.values():
        fitting &= len(table.places) == rows and table.places.shape == table.weights.shape
        fitting &= not table.places.size or (table.places.min() >= -1 and int(table.places.max()) < len(learned))
    fitting &= learned.habits.fits(rows)
    if not fitting or len(learned.vectors) != rows:
        raise ValueError("the arrays do not fit each other")
    if not (np.isfinite(learned.vectors).all() and np.isfinite(learned.fold.gram).all()):
        raise ValueError("a vector is not finite")
    return learned
