"""What shoppers took in a window, and what they had taken before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.recommender.domain.learned import Places
from services.recommender.domain.moments import Moment, daypart_of
from services.recommender.training.learning.log import Log


def taken(log: Log) -> Mapping[int, Places]:
    """Distinct products by shopper, in order."""
    pairs = np.unique(np.column_stack([log.users, log.products]).astype(np.int64), axis=0)
    if not len(pairs):
        return {}
    users, start = np.unique(pairs[:, 0], return_index=True)
    return dict(zip(users.tolist(), np.split(pairs[:, 1], start[1:]), strict=True))


def first_moments(log: Log) -> dict[int, Moment]:
    """When and from what each shopper took something first: a page for it would have been asked for then."""
    users, first = np.unique(log.users, return_index=True)  # the rows are in the order of time
    dayparts = daypart_of(log.times[first])
    devices = log.devices[first] if len(log.devices) else np.full(len(first), -1)
    names = (*log.device_names, "")  # the number -1 is the last one
    return {
        user: Moment(daypart, names[device])
        for user, daypart, device in zip(users.tolist(), dayparts.tolist(), devices.tolist(), strict=True)
    }


def never_before(truths: Mapping[int, Places], histories: Mapping[int, Places]) -> dict[int, Places]:
    """Of each truth what is not in the shopper's history; shoppers with nothing new are left out."""
    none: Places = np.zeros(0, dtype=np.int64)
    new = {user: np.setdiff1d(truth, histories.get(user, none)) for user, truth in truths.items()}
    return {user: truth for user, truth in new.items() if len(truth)}
