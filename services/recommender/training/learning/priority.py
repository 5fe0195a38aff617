"""Learning while a version serves is work that nobody waits for: on a busy machine it gets what others leave."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Where all processors are busy, a tenth of what others get: not less, or a shop at its limit would never have a newer
# version.
_NICENESS = 10

# Of the session, as Linux shares processors where nobody made other groups: among sessions first, and by niceness only
# within one. A nice process of a session that has nothing else to do would go halves with everybody.
_SESSION = Path("/proc/self/autogroup")


def stand_back() -> None:
    """Lets all others go first, from now on and for good; to be called by a process that does nothing else.

    It gets a session of its own: what is sent to its parent's group does not reach it.
    """
    with contextlib.suppress(OSError):  # it leads one already
        os.setsid()
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):  # another system, or one without sessions to share among
        _SESSION.write_text(str(_NICENESS))
