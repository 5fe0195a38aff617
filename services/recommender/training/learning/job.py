"""The whole run: from a log to the artifacts of a version, what they scored on the held-out window, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.recommender.domain import learned as knowledge
from services.recommender.domain import ranker as rankers
from services.recommender.domain.learned import Floats, Learned
from services.recommender.domain.ranker import Forest, Logistic, Ranker
from services.recommender.domain.ranker_features import FEATURES
from services.recommender.domain.retrieving import OBJECTIVES
from services.recommender.training.learning import gate
from services.recommender.training.learning.fitting import fit_forest, fit_logistic
from services.recommender.training.learning.log import DAY, PURCHASE, VIEW, Catalogue, Log
from services.recommender.training.learning.rows import Case, Rows, Window, cases, sample
from services.recommender.training.learning.version import learn
from services.recommender.training.learning.windows import WINDOWS, label_types, label_windows

Report = Callable[[float], None]

# Of one objective: more sharpen nothing that the metrics could show.
_ROWS = 400_000
# Fewer true labels than that teach nothing but accidents.
_FEWEST_LABELS = 100

RECIPROCAL = "reciprocal ranks"
Fit = Callable[[Rows, Sequence[str]], Logistic | Forest]
_FITS: Mapping[str, Fit] = {
    "logistic": fit_logistic,
    "forest": fit_forest,
}


@dataclass(slots=True)
class Outcome:
    """What the parent process stores. A reason to reject means: what serves now is better."""

    artifacts: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    lineage: dict[str, str] = field(default_factory=dict)
    rejected: str = ""


def run(
    log: Log,
    catalogue: Catalogue,
    now: float,
    active: Mapping[str, Logistic | Forest],
    report: Report,
    seen_until: float = 0.0,
) -> Outcome:
    """``now`` is in seconds since 1970, ``active`` are the rankers that serve, by objective, and ``seen_until`` is when
    the labels end that they were trained on."""
    outcome = Outcome()
    # Those trained with columns that are no more cannot be read.
    active = {name: one for name, ranker in active.items() if (one := rankers.reading(ranker, FEATURES))}
    windows = label_windows(log)
    outcome.lineage["features"] = str(len(FEATURES))
    if windows:
        found = _cases(log, catalogue, windows, outcome, report)
        seen = seen_until > windows[0].start
        for objective in OBJECTIVES:
            own = [[case for case in part if case.objective == objective] for part in found]
            _rank(objective, own, active.get(objective), seen, outcome)
            report(0.8 if objective == OBJECTIVES[0] else 0.9)
    else:
        outcome.lineage["ranker"] = "none: the log spans less than six days"
        for objective, ranker in active.items():
            _keep(objective, ranker, "the log spans less than six days", outcome)
    trained = any(outcome.lineage.get(f"ranker_{objective}") in _FITS for objective in OBJECTIVES)
    if until := windows[0].end if trained else seen_until:
        outcome.metrics["labels_until"] = until
    known: Learned = learn(log, now, catalogue)
    outcome.artifacts[knowledge.ARTIFACT] = knowledge.encode(known)
    return outcome


def _cases(
    log: Log, catalogue: Catalogue, windows: tuple[Window, ...], outcome: Outcome, report: Report
) -> list[list[Case]]:
    """Of each window, the newest first."""
    types = label_types(log, windows)
    outcome.lineage["label_days"] = f"{(windows[0].end - windows[0].start) / DAY:g}"
    outcome.lineage["labels"] = " ".join(_TYPES[type_] for type_ in types)
    outcome.lineage["label_windows"] = " ".join(f"{window.start:.0f}-{window.end:.0f}" for window in windows)
    found = []
    for number, window in enumerate(windows):
        known = learn(log, window.start, catalogue)
        found.append(list(cases(log, known, window, types, seed=number)))
        report(0.05 + 0.65 * (number + 1) / len(windows))
    return found


_TYPES = {PURCHASE: "purchase-complete", VIEW: "detail-page-view", 1: "add-to-cart"}


def _rank(
    objective: str, found: list[list[Case]], active: Logistic | Forest | None, seen: bool, outcome: Outcome
) -> None:
    """Chooses the order on the held-out newest window, trains it on the newest ones, and compares it with ``active``.

    ``seen``: whether that was trained on labels of the held-out window. Then what is to serve, which was as well, is
    compared: otherwise a shop that trains every hour would reject each version for weeks.
    """
    held_out, older, newest = found[0], _flat(found[1:]), _flat(found[:WINDOWS])
    key = f"ranker_{objective}"
    if len(held_out) < gate.FEWEST_CASES or _labels(older) < _FEWEST_LABELS:
        outcome.lineage[key] = f"{RECIPROCAL}: too little was taken to learn from"
        if active is not None:
            _keep(objective, active, "too little was taken to learn from", outcome)
        return
    rows = sample(older, _ROWS, seed=1)
    scores: dict[str, Floats] = {RECIPROCAL: gate.ndcg(held_out, gate.fused)}
    for name, fit in _FITS.items():
        scores[name] = gate.ndcg(held_out, _scorer(fit(rows, FEATURES)))
    chosen = gate.best(scores, RECIPROCAL)
    outcome.metrics |= {f"ndcg_{objective}_{name.replace(' ', '_')}": float(one.mean()) for name, one in scores.items()}
    outcome.metrics[f"ndcg_{objective}"] = float(scores[chosen].mean())
    outcome.metrics[f"held_out_shoppers_{objective}"] = float(len(held_out))
    outcome.lineage[key] = chosen
    own = scores[chosen]
    if chosen in _FITS:
        final = sample(newest, _ROWS, seed=2)
        outcome.metrics[f"rows_{objective}"] = float(len(final.labels))
        made = _FITS[chosen](final, FEATURES)
        outcome.artifacts[key] = rankers.encode(made)
        own = gate.ndcg(held_out, _scorer(made)) if seen else own
    if active is not None:
        before = gate.ndcg(held_out, _scorer(active))
        if chosen == RECIPROCAL and seen:
            before = before - _flattery(held_out, sample(newest, _ROWS, seed=2), scores)
        outcome.metrics[f"ndcg_{objective}_active"] = float(before.mean())
        difference = gate.compare(own, before)
        if chosen == RECIPROCAL and difference.mean < 0:
            _keep(objective, active, "better than what was learned anew and than reciprocal ranks", outcome)
            outcome.metrics[f"ndcg_{objective}"] = float(before.mean())
        elif difference.worse:
            outcome.rejected = (
                f"{objective}: nDCG@10 {own.mean():.4f} on the newest window against {before.mean():.4f}"
                f" of the active version (difference {difference.mean:.4f}, standard error {difference.error:.4f})"
            )


def _flattery(held_out: list[Case], rows: Rows, scores: Mapping[str, Floats]) -> Floats:
    """By case, what having seen the labels of the held-out window is worth there: what the fit that gains most by them
    does.

    Reciprocal ranks have seen nothing. Without this a ranker that does worse than they would stay for as long as the
    window is one that it was trained on.
    """
    gains = [gate.ndcg(held_out, _scorer(fit(rows, FEATURES))) - scores[name] for name, fit in _FITS.items()]
    return max(gains, key=lambda gain: float(gain.mean()))


def _keep(objective: str, active: Logistic | Forest, why: str, outcome: Outcome) -> None:
    """The ranker that serves goes on in the new version: it reads columns, whose meaning no version changes, and a shop
    that is quiet for a while must not lose what it has learned."""
    key = f"ranker_{objective}"
    outcome.artifacts[key] = rankers.encode(active)
    outcome.lineage[key] = f"as before: {why}"


def _flat(found: list[list[Case]]) -> list[Case]:
    return [case for part in found for case in part]


def _labels(found: list[Case]) -> int:
    return int(sum(case.labels.sum() for case in found))


def _scorer(ranker: Ranker) -> gate.Score:
    def score(case: Case) -> Floats:
        return ranker.score(case.matrix)

    return score


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Without what JSON cannot say."""
    return {name: value for name, value in values.items() if np.isfinite(value)}
