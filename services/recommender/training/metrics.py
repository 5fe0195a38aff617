"""Metrics of training and of the copied scores."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

TRAININGS = Counter(
    "windowshop_model_trainings_total",
    "Training runs by outcome: active, rejected (worse than what serves), failed or skipped (nothing new); without any"
    " active one the model ages.",
    ["outcome"],
)
TRAINING_SECONDS = Gauge(
    "windowshop_model_training_seconds", "Time of the last training run; near the schedule's interval is too long."
)
MODEL_CREATED = Gauge(
    "windowshop_model_created_timestamp_seconds",
    "When the version that this process trained last was begun; far behind the schedule means that training fails.",
)
SCORES_SECONDS = Gauge(
    "windowshop_product_scores_refresh_seconds", "Time of the last refresh of the copied scores, all pages."
)
SCORES_CHANGED = Counter(
    "windowshop_product_scores_changed_total", "Copied scores that a refresh changed; none for hours means no events."
)
SCORES_FAILURES = Counter(
    "windowshop_product_scores_failures_total", "Refreshes that failed; popular and trending lists grow old."
)
