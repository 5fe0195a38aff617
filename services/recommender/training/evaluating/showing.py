"""A comparison as a table for people, JSON for programs, and plots for documents."""

from __future__ import annotations

from pathlib import Path

from services.recommender.training.evaluating.comparing import METRICS, Judged
from services.recommender.training.evaluating.metrics import paired_bootstrap


def text_table(judged: Judged, name: str) -> str:
    """Columns of metrics, a line each model; behind nDCG by how much ``name`` is better, with the 95 % interval."""
    lines = []
    for objective, found in judged.items():
        lines.append(f"{objective}: {len(found[name].shoppers):,} shoppers")
        lines.append(f"{'':20}" + "".join(f"{metric:>16}" for metric in METRICS) + f"  {name} better by (nDCG)")
        for other, one in found.items():
            values = "".join(f"{one.mean(metric):>16.4f}" for metric in METRICS)
            lines.append(f"{other:20}{values}  {_better(found, name, other)}")
        lines.append("")
    return "\n".join(lines)


def _better(found: object, name: str, other: str) -> str:
    if other == name:
        return ""
    assert isinstance(found, dict)  # noqa: S101 - as compare made it
    interval = paired_bootstrap(found[name].values["ndcg"], found[other].values["ndcg"])
    return f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def plot(judged: Judged, name: str, folder: Path) -> list[Path]:
    """One picture per objective: nDCG of each model, and the interval of the difference. Needs matplotlib."""
    # Optional: only plots need it.
    import matplotlib  # noqa: PLC0415

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for objective, found in judged.items():
        figure, (values, gains) = pyplot.subplots(1, 2, figsize=(10, 3.5), sharey=True)
        names = list(found)[::-1]
        colours = ["#2a6f97" if other == name else "#a9b4bb" for other in names]
        values.barh(names, [found[other].mean("ndcg") for other in names], color=colours)
        values.set_xlabel("nDCG@10")
        for row, other in enumerate(names):
            if other == name:
                continue
            interval = paired_bootstrap(found[name].values["ndcg"], found[other].values["ndcg"])
            gains.plot([interval.low, interval.high], [row, row], color="#2a6f97")
            gains.plot(interval.mean, row, "o", color="#2a6f97")
        gains.axvline(0, color="black", linewidth=0.5)
        gains.set_xlabel(f"{name} better by, 95 % interval")
        figure.suptitle(f"{objective}, {len(found[name].shoppers):,} shoppers")
        figure.tight_layout()
        file = folder / f"{objective}.png"
        figure.savefig(file, dpi=120)
        pyplot.close(figure)
        written.append(file)
    return written
