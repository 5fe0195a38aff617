"""Copies of the log in files, a day at a time: whole days only, each there completely or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from services.features.export_ports import DayFiles, DayReader


async def export(
    reader: DayReader,
    files: DayFiles,
    first: date,
    after: date,
    overwrite: bool,
    report: Callable[[date, int], None],
) -> dict[str, int]:
    """Writes the days from ``first`` on and before ``after``; those that are there are left, unless ``overwrite``.

    A day that the log does not keep any more is not touched. ``report`` is called after each day with the number of
    its events. Returns how many days were written, skipped (there already) and missing (nothing is known of them).
    """
    kept = set(await reader.kept(first, after))
    counts = {"days": 0, "events": 0, "skipped": 0, "missing": 0}
    for number in range((after - first).days):
        day = first + timedelta(days=number)
        events = 0
        if files.has(day) and not (overwrite and day in kept):
            counts["skipped"] += 1
        elif day not in kept:
            counts["missing"] += 1
        else:
            with files.write(day) as add:
                async for page in reader.read(day):
                    await add(page)
                    events += len(page)
            counts["days"] += 1
            counts["events"] += events
        report(day, events)
    return counts
