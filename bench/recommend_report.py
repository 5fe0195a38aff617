"""The tables of `bench recommend`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

# Wide enough for the tables where there is no terminal that has a width.
_console = Console(width=150)


def print_tables(result: Mapping[str, Any]) -> None:
    table = Table(title=f"{result['products']:,} products, {result['users']:,} users, 10 of them recommended")
    for heading in ("", "a second", "p50 ms", "p99 ms", "greatest", "just viewed: p50", "p99", "CPU ms a page"):
        table.add_column(heading, justify="right" if heading else "left")
    closed = f"as many as {result['connections']} connections get ({result['driver']})"
    table.add_row(closed, f"{result['rps']:.0f}", *[""] * 5, f"{result['cpu_ms_per_request']['all']:.2f}")
    for title, one in (("half of that, open loop", result["half"]), ("open loop", result["fixed"])):
        if one is None:
            continue
        table.add_row(
            title,
            f"{one['per_second']:.0f}",
            *(f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms", "p50_ms_viewed", "p99_ms_viewed")),
            f"{one['cpu_ms_per_request']['all']:.2f}",
        )
    alone = result["alone"]
    low = f"floor {alone['floor_search_ms']:.1f} + {alone['floor_read_ms']:.1f}, ratio {result['floor_ratio']:.2f}"
    table.add_row("one connection", "", f"{alone['p50_ms']:.1f}", low)
    _console.print(table)
    cost = Table(title="processor time of a page, and memory")
    for heading in ("process", "CPU ms at the most", "CPU ms at half", "CPU ms a second at rest", "MB"):
        cost.add_column(heading, justify="right" if heading != "process" else "left")
    half, rest = result["half"]["cpu_ms_per_request"], result["cpu_ms_per_second_at_rest"]
    for name in sorted(
        {*result["cpu_ms_per_request"], *half, *result["memory_mb"]}, key=lambda one: (one == "all", one)
    ):
        cost.add_row(
            name,
            f"{result['cpu_ms_per_request'].get(name, 0.0):.3f}",
            f"{half.get(name, 0.0):.3f}",
            f"{rest.get(name, 0.0):.1f}",
            f"{result['memory_mb'].get(name, 0.0):.0f}",
        )
    _console.print(cost)


def print_growth(steps: Sequence[Mapping[str, Any]]) -> None:
    """A column for each size."""
    table = Table(title="recommendations, by the size of the shop")
    table.add_column("")
    for step in steps:
        table.add_column(f"{step['products']:,} products, {step['users']:,} users", justify="right")
    rows: list[tuple[str, str, list[str]]] = [
        ("a second at most", "", [f"{step['rps']:.0f}" for step in steps]),
        ("p50 / p99 ms at half", "", [f"{step['p50_ms_half']:.1f} / {step['p99_ms_half']:.1f}" for step in steps]),
        (
            f"p50 / p99 ms at {steps[0]['rate']:g} a second",
            "",
            [_with_failed(f"{step['p50_ms']:.1f} / {step['p99_ms']:.1f}", step["failed"]) for step in steps],
        ),
    ]
    for title, key, form in (
        ("CPU ms a page", "cpu_ms_per_request", "{:.2f}"),
        ("memory, MB", "memory_mb", "{:,.0f}"),
        ("stored, MB", "stored_mb", "{:,.0f}"),
    ):
        names = sorted({name for step in steps for name in step[key]}, key=lambda one: (one == "all", one))
        rows += [(title, name, [form.format(step[key].get(name, 0.0)) for step in steps]) for name in names]
    for title, name, values in rows:
        table.add_row(f"{title}: {name}" if name else title, *values)
    _console.print(table)


def _with_failed(text: str, failed: int) -> str:
    return f"{text} ({failed} failed)" if failed else text
