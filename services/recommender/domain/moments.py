"""The moment of a request: the time of day and the device, and which products go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

# Of a day in UTC: what each of them means to the shop's people is learned.
DAYPARTS = 4
_DAY = 86_400.0


def daypart_of(seconds: Floats) -> npt.NDArray[np.int8]:
    """From 0 to DAYPARTS - 1, of instants in seconds since 1970."""
    parts: npt.NDArray[np.int8] = (seconds % _DAY // (_DAY / DAYPARTS)).astype(np.int8)
    return parts


@dataclass(frozen=True, slots=True)
class Moment:
    """``daypart`` -1: it does not matter which. An empty ``device`` is an unknown one."""

    daypart: int = -1
    device: str = ""

    @classmethod
    def at(cls, now: float, device: str) -> Moment:
        """``now`` is in seconds since 1970."""
        return cls(int(daypart_of(np.array([now]))[0]), device)


@dataclass(frozen=True, slots=True)
class Habits:
    """By product (n + 1 rows, the last one stands for the unknown): the logarithm of how much more than usual it is
    taken at a time of day, and from a device; smoothed, 0 where nothing is known.

    The last column stands for an unknown daypart or device.
    """

    dayparts: Singles
    device_names: Sequence[str]
    devices: Singles

    def of(self, moment: Moment, places: Places) -> tuple[Singles, Singles]:
        """By daypart and by device, an element per place."""
        names = self.device_names
        device = names.index(moment.device) if moment.device in names else len(names)
        daypart = moment.daypart if 0 <= moment.daypart < DAYPARTS else DAYPARTS
        return self.dayparts[places, daypart], self.devices[places, device]

    def fits(self, rows: int) -> bool:
        """Whether there is a row for each product and a column for each daypart and device."""
        return self.dayparts.shape == (rows, DAYPARTS + 1) and self.devices.shape == (rows, len(self.device_names) + 1)


def without_habits(products: int) -> Habits:
    """Of ``products`` nothing is known."""
    nothing = np.zeros((products + 1, DAYPARTS + 1), dtype=np.float32)
    return Habits(nothing, (), np.zeros((products + 1, 1), dtype=np.float32))
