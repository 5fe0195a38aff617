"""Attribution tokens: what an answer was made with, carried by the events that it leads to.

Opaque to clients: url-safe base64 of a version, the serving config, the model version and a random id. The event log
keeps it as it came; whoever compares serving configs or models by their events takes it apart.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

_VERSION = "1"
# The id alphabet has no tilde, so it can separate.
_SEPARATOR = "~"


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a token says."""

    serving_config: str
    model_version: str
    answer_id: str


def encode(attribution: Attribution) -> str:
    """The token, without padding, of characters that need no escaping in a URL."""
    parts = (_VERSION, attribution.serving_config, attribution.model_version, attribution.answer_id)
    return base64.urlsafe_b64encode(_SEPARATOR.join(parts).encode()).decode().rstrip("=")
