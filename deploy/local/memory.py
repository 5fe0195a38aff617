"""How much memory this machine lends to us."""

import os
from collections.abc import Sequence
from pathlib import Path

# Of the container around us, where it has one: as a kernel's control groups say it, and as those before them do.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def lent(limits: Sequence[Path] = _LIMITS) -> int:
    """Bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min((total, *(_bytes(limit, total) for limit in limits)))


def _bytes(limit: Path, total: int) -> int:
    try:
        return int(limit.read_text())
    except (OSError, ValueError):  # there is none, or "max"
        return total
