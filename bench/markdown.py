"""`python -m bench.markdown`: the last results of `bench recommend` and `soak` as tables for docs/performance.md."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.results import FOLDER

_AIMS = (
    ("rps_100k", "recommendations a second", "at least 400"),
    ("p50_ms_half", "p50 at half of that, ms", "under 8"),
    ("p99_ms_half", "p99 at half of that, ms", "under 25"),
    ("floor_ratio", "p50 of one connection over raw search + raw read", ""),
)


def of_recommend(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines."""
    machine = result["machine"]
    yield f"{result['products']:,} products, {result['users']:,} users, {result['seconds']:g} s a measurement,"
    yield f"medians of {len(result['rounds_rps'])} rounds; load average {machine['load_1m_before']} before."
    yield from table(("key", "", "figure", "aim"), [
        (f"`{key}`", title, number(result[key]), aim) for key, title, aim in _AIMS if key in result
    ])  # fmt: skip
    half, rest = result["half"]["cpu_ms_per_request"], result["cpu_ms_per_second_at_rest"]
    names = ordered({*result["cpu_ms_per_request"], *half})
    yield from table(
        (
            "processor time, ms",
            f"a page at {result['rps']:.0f} a second",
            "a page at half of that",
            "a second at rest",
            "MB",
        ),
        [
            (
                name,
                number(result["cpu_ms_per_request"].get(name, 0.0)),
                number(half.get(name, 0.0)),
                number(rest.get(name, 0.0)),
                f"{result['memory_mb'].get(name, 0.0):,.0f}" if name != "all" else "",
            )
            for name in names
        ],
    )


def of_growth(result: Mapping[str, Any]) -> Iterator[str]:
    """A column for each size."""
    steps = result["growth"]
    heads = ("", *(f"{step['products']:,} products" for step in steps))
    rows = [
        ("a second at most", *(f"{step['rps']:.0f}" for step in steps)),
        (
            "p50 / p99 at half, ms",
            *(f"{number(step['p50_ms_half'])} / {number(step['p99_ms_half'])}" for step in steps),
        ),
        (
            f"p50 / p99 at {steps[0]['rate']:g} a second, ms",
            *(f"{number(step['p50_ms'])} / {number(step['p99_ms'])}" for step in steps),
        ),
        ("CPU ms a page", *(number(step["cpu_ms_per_request"]["all"]) for step in steps)),
    ]
    for title, key in (("memory", "memory_mb"), ("stored", "stored_mb")):
        for name in ordered({name for step in steps for name in step[key]}):
            sizes = [f"{step[key].get(name, 0.0):,.0f}" for step in steps]
            rows += [(f"{title} of {name}, MB", *sizes)]
    yield from table(heads, rows)


def of_soak(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines."""
    traffic, looks = result["traffic"], result["looks"]
    first, last = looks[0]["memory_mb"], looks[-1]["memory_mb"]
    yield f"{traffic['requests']:,} pages in {result['seconds']:g} s at {result['rate']:g} a second (of"
    yield f"{result['most_per_second']:.0f} at most), p50 {traffic['p50_ms']} ms, p99 {traffic['p99_ms']} ms,"
    yield f"{traffic['degraded']} degraded; beside them {len(result['imports'])} imports,"
    yield f"{len(result['trainings'])} versions trained and {len(result['indexes'])} indexes built."
    yield f"Load average {result['machine']['load_1m_before']} before."
    rows = []
    for name in ordered({*first, *last} - {"training"}):
        lag = result["loops"].get(name)
        stalls = [str(lag["stalls"].get(holder, 0)) for holder in ("loop", "threads", "outside")] if lag else [""] * 3
        grown = result["mb_per_minute"].get(name)
        sizes = (f"{part.get(name, 0.0):,.0f}" for part in (first, last))
        greatest = f"{lag['greatest_ms_at_most']:g}" if lag else ""
        rows.append((name, *stalls, greatest, *sizes, "" if grown is None else f"{grown:+.2f}"))
    heads = (
        "",
        "more than 20 ms late: the loop itself",
        "other threads",
        "no processor",
        "greatest, at most ms",
        "MB at first",
        "at the end",
        "own MB a minute",
    )
    yield from table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def number(value: float) -> str:
    """With as many digits as say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ordered(names: set[str]) -> list[str]:
    """By name, the sum last."""
    return sorted(names, key=lambda name: (name == "all", name))


def main() -> None:
    for name, lines in (("recommend", of_recommend), ("growth", of_growth), ("soak", of_soak)):
        path: Path = FOLDER / f"{name}.json"
        if path.exists():
            print("\n".join(lines(json.loads(path.read_text()))), end="\n\n")


if __name__ == "__main__":
    main()
