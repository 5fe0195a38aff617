"""How late the event loops of a shop were, from what its processes tell of it; and whether numbers grow."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import aiohttp

from bench.kept_shop import KeptShop

_OPS = {
    "gateway": "GATEWAY_OPS_PORT",
    "features": "FEATURES_OPS_PORT",
    "worker": "FEATURES_WORKER_OPS_PORT",
    "recommender": "RECOMMENDER_OPS_PORT",
}
_LAG = "windowshop_loop_lag_seconds"
_STALLS = "windowshop_loop_stalls_total"


@dataclass(frozen=True, slots=True)
class Lags:
    """Of one process, counted since it started."""

    buckets: dict[float, float]
    """Upper bound in seconds -> looks at the loop that came no later; infinity: all."""
    stalls: dict[str, float]
    """Who had the processor -> looks that came more than 20 ms late."""


async def lags(found: KeptShop) -> dict[str, Lags]:
    """By process."""
    read = {}
    async with aiohttp.ClientSession() as session:
        for name, port in _OPS.items():
            async with session.get(f"http://127.0.0.1:{found.shop.ports[port]}/metrics") as answer:
                text = await answer.text()
            buckets = {float(label): value for label, value in samples(text, f"{_LAG}_bucket", "le").items()}
            read[name] = Lags(buckets, samples(text, _STALLS, "holder"))
    return read


def samples(text: str, name: str, label: str) -> dict[str, float]:
    """Of a metric with one label in an exposition, by its value."""
    return {
        line.partition(f'{label}="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(name + "{")
    }


def since(before: Lags, after: Lags) -> dict[str, Any]:
    """Looks, stalls of more than 20 ms by who had the processor, and the upper bound of the greatest lag's bucket."""
    grown = {bound: count - before.buckets.get(bound, 0.0) for bound, count in after.buckets.items()}
    looks = max(grown.values(), default=0.0)
    late = {holder: round(count - before.stalls.get(holder, 0.0)) for holder, count in after.stalls.items()}
    greatest = min((bound for bound, count in grown.items() if count >= looks), default=0.0)
    return {"looks": round(looks), "stalls": late, "greatest_ms_at_most": greatest * 1_000}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of a line through them, the median over all pairs: a bump that passes is none. 0 for fewer than two."""
    pairs = [(two, one) for place, one in enumerate(points) for two in points[place + 1 :] if two[0] > one[0]]
    return median((later[1] - sooner[1]) / (later[0] - sooner[0]) for later, sooner in pairs) if pairs else 0.0
