"""Values relative to the greatest of all, where everything halves in the same time: what must be known of the greatest.

A magnitude x(T) is a sum of weights that all halve every ``half_life``. So log2(x) + T / half_life, its *level*, stands
still while nothing comes or leaves, and the entity with the greatest level is the one with the greatest magnitude now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Of places: so near to a tie binary and decimal may round differently.
_NEAR = 1e-6

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Relative:
    """A logarithmic scale up to the greatest: scale * ln(1 + x) / ln(1 + greatest), rounded half-even to ``digits``.

    ``maximum`` is the statement that tells the greatest magnitude at given instants from the log.
    """

    scale: float
    half_life_ms: int
    digits: int
    maximum: str

    def level(self, magnitude: float, at_ms: int) -> float:
        """The level of a magnitude, which must be above 0."""
        return math.log2(magnitude) + at_ms / self.half_life_ms

    def magnitude(self, level: float, at_ms: int) -> float:
        """The magnitude that a level stands for at an instant."""
        return math.exp2(level - at_ms / self.half_life_ms)

    def decayed(self, magnitude: float, from_ms: int, to_ms: int) -> float:
        """A magnitude at a later instant."""
        return magnitude * math.exp2((from_ms - to_ms) / self.half_life_ms)

    def score(self, magnitude: float, greatest: float) -> float:
        """The value; what is greater than the greatest known is itself the greatest."""
        if magnitude == 0:  # decayed to less than a double tells, perhaps together with the greatest
            return 0.0
        share = math.log1p(magnitude) / math.log1p(max(magnitude, greatest))
        return _rounded(self.scale * share, self.digits)

    def of_greatest(
        self, magnitude: float, greatest: float, computed_ms: int, maximum: Maximum | None
    ) -> tuple[float, int]:
        """The value from a stored pair, and the instant that it is of.

        That of the maximum, where the pair still holds there; else that of its computation, with the greatest that was
        known then. Value and instant belong together: from the log as of that instant, the same would come out.
        """
        if maximum is None or maximum.level is None or not maximum.holds(computed_ms):
            return self.score(magnitude, greatest), computed_ms
        magnitude = self.decayed(magnitude, computed_ms, maximum.at_ms)
        return self.score(magnitude, self.magnitude(maximum.level, maximum.at_ms)), maximum.at_ms

    def all_of_greatest(
        self, magnitudes: Floats, greatest: Floats, computed_ms: Integers, newest_ms: int, maximum: Maximum | None
    ) -> tuple[list[float], list[int]]:
        """`of_greatest` of n: arrays of that length, the last of the instants, and lists."""
        if maximum is not None and maximum.level is not None and maximum.whole:
            decayed = magnitudes * np.exp2((computed_ms - maximum.at_ms) / self.half_life_ms)
            level = self.magnitude(maximum.level, maximum.at_ms)
            if newest_ms <= maximum.at_ms and level > 0:  # as a rule
                return self._all_of_one(decayed, level), [maximum.at_ms] * len(decayed)
            held = computed_ms <= maximum.at_ms
            magnitudes, greatest = np.where(held, decayed, magnitudes), np.where(held, level, greatest)
            computed_ms = np.where(held, maximum.at_ms, computed_ms)
        places = 10**self.digits
        with np.errstate(invalid="ignore"):  # 0 / 0, see score
            scaled = self.scale * (np.log1p(magnitudes) / np.log1p(np.maximum(magnitudes, greatest))) * places
            scores = np.where(magnitudes == 0, 0.0, np.rint(scaled) / places)
            unclear = np.flatnonzero(_is_unclear(scaled))
        result = scores.tolist()
        for place in unclear.tolist():
            result[place] = self.score(float(magnitudes[place]), float(greatest[place]))
        return result, computed_ms.tolist()

    def _all_of_one(self, magnitudes: Floats, greatest: float) -> list[float]:
        """`score` of n with the same greatest, which is above 0."""
        places = 10**self.digits
        scaled = self.scale * (np.log1p(magnitudes) / np.log1p(np.maximum(magnitudes, greatest))) * places
        rounded = np.rint(scaled)
        result: list[float] = (rounded / places).tolist()
        unclear = np.abs(scaled - rounded) >= 0.5 - _NEAR
        for place in unclear.nonzero()[0].tolist():
            result[place] = self.score(float(magnitudes[place]), greatest)
        return result

    def pair(self, magnitude: float, maximum: float | None, at_ms: int) -> list[float | str]:
        """What is stored: a magnitude at an instant, and beside it the greatest, known by its level then."""
        greatest = magnitude if maximum is None else max(magnitude, self.magnitude(maximum, at_ms))
        return [magnitude, greatest]


class Maximum(NamedTuple):
    """The greatest level (None: nothing has evidence) as of an instant.

    ``whole``: everything that came before the instant is computed, so a value that was stored before still holds there.
    ``newest``: the greatest level that is known, for what is computed now; it may know of more than the instant.
    """

    level: float | None
    at_ms: int
    whole: bool
    newest: float | None

    def holds(self, computed_ms: int) -> bool:
        """Whether what was computed at an instant, and has not slid since, is right at this one's too."""
        return self.whole and computed_ms <= self.at_ms


def _rounded(value: float, digits: int) -> float:
    """Half-even on the shortest decimal that is the double."""
    places = value * 10**digits
    if _is_unclear(places):
        return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN))
    return round(value, digits)


def _is_unclear(places: Any) -> Any:
    """Whether a number, or each of an array, is so near to a tie that binary and decimal may round it differently."""
    return abs(places % 1.0 - 0.5) <= _NEAR
