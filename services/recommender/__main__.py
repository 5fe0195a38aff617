"""``python -m services.recommender`` runs the service until SIGTERM or SIGINT; with ``evaluate``, see evaluate.py."""

from __future__ import annotations

import sys
from functools import partial

from services.recommender.app import run
from services.recommender.settings import RecommenderSettings
from services.runtime import logs
from services.runtime.lifecycle import run_service
from services.runtime.settings import load


def main() -> None:
    """Parse, configure logs, run."""
    if sys.argv[1:2] == ["evaluate"]:
        # Brings what learning needs, which the service leaves to a process of its own.
        from services.recommender.evaluate import evaluate  # noqa: PLC0415

        evaluate(sys.argv[2:], prog_name="python -m services.recommender evaluate")
    settings = load(RecommenderSettings)
    logs.configure("recommender", settings.log_level, settings.log_format)
    run_service(partial(run, settings))


if __name__ == "__main__":
    main()
