"""What the feature service tells Prometheus of itself; labels are names of the contract or the definitions, no ids."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.metrics import BUCKETS, LoopCounter

EVENTS_ACCEPTED = Counter("windowshop_events_accepted_total", "Events newly stored, by type.", ["event_type"])
EVENTS_DUPLICATE = Counter(
    "windowshop_events_duplicate_total", "Events that were stored already; a sender that retries."
)
EVENTS_ERASED = Counter(
    "windowshop_events_erased_total",
    "Events not stored, for their person was erased after them; a sender that repeats.",
)
MERGES = Counter(
    "windowshop_visitor_merges_total",
    "Guests whose events became a user's; none while people sign in: their features begin with nothing.",
)
ERASURES = Counter("windowshop_erasures_total", "Persons whose erasure was carried out, repetitions too.")
EVENTS_REJECTED = Counter(
    "windowshop_events_rejected_total", "Events refused, by reason; above 0 a sender is wrong.", ["reason"]
)
EVENTS_UNKNOWN_PRODUCTS = Counter(
    "windowshop_events_unknown_products_total",
    "Events that name a product unknown to the catalogue; growing without end means that catalogue and shop disagree.",
)
MARK_FAILURES = Counter(
    "windowshop_mark_failures_total",
    "Batches whose marks did not reach the online store; repeated later, features are late until then.",
)
READINGS = LoopCounter(
    "windowshop_feature_readings_total",
    "Feature values answered, by status; STALE means refresh falls behind, UNAVAILABLE that stores are down.",
    ["feature", "status"],
)
COMPUTATIONS = Counter(
    "windowshop_feature_computations_total",
    "Feature values computed from the log, by cause: read (a caller waited), due (the worker), refresh (asked for)"
    " or training (as of the past).",
    ["feature", "cause"],
)
COMPUTE_SECONDS = Histogram(
    "windowshop_feature_compute_seconds",
    "Time of the statement that computed it, for however many entities, perhaps with other features; on read it adds to"
    " the caller's time.",
    ["feature"],
    buckets=BUCKETS,
)
REFRESH_LAG = Histogram(
    "windowshop_refresh_lag_seconds",
    "How long an entity was due before a worker took it; above the refresh intervals, add workers.",
    ["entity"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0),
)
DUE = Gauge(
    "windowshop_due_entities", "Entities due for refresh now; growing without end means too few workers.", ["entity"]
)
TAIL_LAG = Gauge(
    "windowshop_log_tail_lag_transactions",
    "Transactions between the log tail and the end of the log; far above the write rate, lost marks are repeated late.",
)
MARKS_REPEATED = Counter("windowshop_marks_repeated_total", "Transactions whose lost marks the log tail repeated.")
SIGNALS_APPLIED = Counter("windowshop_product_signals_applied_total", "Catalogue changes taken over.")
LOG_PARTITIONS_DROPPED = Counter(
    "windowshop_log_partitions_dropped_total",
    "Days and months of the event log that were dropped, being too old to keep.",
)
LOG_EVENTS_EXPIRED = Counter("windowshop_log_events_expired_total", "Events that were dropped with their day.")
LOG_KEPT = Gauge(
    "windowshop_log_kept_timestamp_seconds",
    "When the log was last kept in bounds (hourly, by one worker of all); more than hours ago it grows without limit.",
)
