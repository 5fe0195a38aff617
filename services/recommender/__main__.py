"""``python -m services.recommender`` runs the service until SIGTERM or SIGINT."""

from __future__ import annotations

from functools import partial

from services.recommender.app import run
from services.recommender.settings import RecommenderSettings
from services.runtime import logs
from services.runtime.lifecycle import run_service
from services.runtime.settings import load


def main() -> None:
    """Parse, configure logs, run."""
    settings = load(RecommenderSettings)
    logs.configure("recommender", settings.log_level, settings.log_format)
    run_service(partial(run, settings))


if __name__ == "__main__":
    main()
