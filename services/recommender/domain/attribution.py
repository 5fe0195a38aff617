"""Attribution tokens: what an answer was made with, carried by the events that it leads to.

Opaque to clients: url-safe base64 of a version, the serving config, the model version and a random id.
"""

from __future__ import annotations

import base64
import binascii
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


def decode(token: str) -> Attribution | None:
    """What the token says; None when it is not one of ours."""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    parts = text.split(_SEPARATOR)
    if len(parts) != 4 or parts[0] != _VERSION:
        return None
    return Attribution(*parts[1:])
