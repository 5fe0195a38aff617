"""`python -m bench appending`: processor time of a small write to the event log, by both ways that there are.

A log of its own, made durable as in production. On a busy machine processor time grows too, and waiting far more: the
ways take turns, compare them.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import click
import uvloop

from bench.own_log import own_log
from bench.processes import cpu_seconds
from bench.results import FOLDER, circumstances, publish
from services.features.domain.events import DETAIL_PAGE_VIEW, Event, Line
from services.features.stores import appending
from services.features.stores.event_log import PostgresEventLog

SIZES = (1, 10, 50)
"""Events of a write."""
WAYS = {"few": appending.FEW, "many": 0}
"""As a few events go, by one call of the database, and as many go."""
_WRITES = 60
"""Of one measurement."""


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--output", default=FOLDER / "appending.json", show_default=True, type=click.Path(path_type=Path))
def command(rounds: int, output: Path) -> None:
    """Measures processor time and waiting of small writes to the event log."""
    about = circumstances()
    publish({"us": uvloop.run(measured(rounds)), "rounds": rounds, **about}, output)


async def measured(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of a write by size and way: processor time of PostgreSQL and of the writer, and until it is done."""
    async with own_log() as (database, server):
        return await _in_turns(PostgresEventLog(database), rounds, server)


async def _in_turns(log: PostgresEventLog, rounds: int, server: int) -> dict[str, dict[str, float]]:
    events, samples = _views(), dict[tuple[int, str], list[tuple[float, float, float]]]()
    for _ in range(rounds + 1):  # the first one fills caches
        for size, way in itertools.product(SIZES, WAYS):
            writes = [list(itertools.islice(events, size)) for _ in range(_WRITES)]
            await log.prepare(writes[0])
            appending.FEW = WAYS[way]
            theirs, ours, begin = cpu_seconds(server), time.process_time(), time.perf_counter()
            for write in writes:
                await log.append(write)
            used = cpu_seconds(server) - theirs, time.process_time() - ours, time.perf_counter() - begin
            samples.setdefault((size, way), []).append(used)
    names = ("postgres", "own", "wall")
    return {
        f"{size} {way}": {
            name: round(median(used[place] for used in of_way[1:]) / _WRITES * 1e6) for place, name in enumerate(names)
        }
        for (size, way), of_way in samples.items()
    }


def _views() -> Iterator[Event]:
    """Of 20,000 people, of 1,000 products, each a moment after the other."""
    first_us = time.time_ns() // 1_000 - 60_000_000
    for number in itertools.count():
        line = Line(f"p{number * 7919 % 1_000}", 1, None)
        user = f"u{number * 104729 % 20_000}"
        yield Event(
            f"e{number}", DETAIL_PAGE_VIEW, user, "", "s", first_us + number, (line,), None, None, None, "", "", {}
        )
