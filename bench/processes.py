"""What processes cost, from /proc: processor time and memory, by what they are."""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deploy.local.postgres import Postgres
from tests.support.shop import Shop

_TICKS = os.sysconf("SC_CLK_TCK")
# A look costs a hundredth of a second, of the cores that are measured.
_LOOK_SECONDS = 3.0

# In this order: the first that a command has.
_NAMES = {
    "services.recommender.training": "training",
    "services.recommender": "recommender",
    "services.features worker": "worker",
    "services.features": "features",
    "-m gateway": "gateway",
    "deploy.local": "supervisor",
    "valkey": "valkey",
    "postgres: features": "postgres features",
    "postgres: recommender": "postgres recommender",
    "postgres": "postgres itself",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process. Memory in MB: its own, and what may be shared with others of its kind."""

    name: str
    cpu_seconds: float
    own_mb: float
    shared_mb: float


def name_of(command: str) -> str:
    """What a process is, by its command line."""
    return next((name for text, name in _NAMES.items() if text in command), "other")


def usages(shop: Shop, postgres: Postgres) -> dict[int, Usage]:
    """Of every process of a shop, by process id. The session of PostgreSQL carry their database in the command line."""
    commands = shop.processes()
    below = _below(postgres.child.pid)
    for pid in below:
        with contextlib.suppress(OSError):
            commands[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    found = {}
    for pid, command in commands.items():
        usage = usage_of(pid, name_of(command))
        if usage is not None:
            found[pid] = usage
    return found


def usage_of(pid: int, name: str) -> Usage | None:
    """None: it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    except OSError:
        return None
    kilobytes = {key: float(status.get(key, "0").split()[0]) for key in ("RssAnon", "RssFile", "RssShmem")}
    return Usage(
        name,
        sum(int(field) for field in fields[11:13]) / _TICKS,
        kilobytes["RssAnon"] / 1024,
        (kilobytes["RssFile"] + kilobytes["RssShmem"]) / 1024,
    )


def cpu_between(before: Mapping[int, Usage], after: Mapping[int, Usage]) -> dict[str, float]:
    """Seconds by name. Of what ended meanwhile nothing is known."""
    spent: dict[str, float] = {}
    for pid, usage in after.items():
        earlier = before[pid].cpu_seconds if pid in before else 0.0
        spent[usage.name] = spent.get(usage.name, 0.0) + usage.cpu_seconds - earlier
    return {name: round(seconds, 3) for name, seconds in sorted(spent.items())}


def memory(found: Mapping[int, Usage]) -> dict[str, float]:
    """MB by name: what each process has of its own, and the shared part once, as large as the largest sees it."""
    names = sorted({usage.name for usage in found.values()})
    return {
        name: round(
            sum(usage.own_mb for usage in found.values() if usage.name == name)
            + max(usage.shared_mb for usage in found.values() if usage.name == name),
            1,
        )
        for name in names
    }


class Watch:
    """While it is open, looks now and then: the peak of memory by name, and what was spent."""

    def __init__(self, shop: Shop, postgres: Postgres) -> None:
        self._shop = shop
        self._postgres = postgres
        self._first: dict[int, Usage] = {}
        self._last: dict[int, Usage] = {}
        self._looking: asyncio.Task[None] | None = None
        self.peak_mb: dict[str, float] = {}

    @property
    def cpu_seconds(self) -> dict[str, float]:
        return cpu_between(self._first, self._last)

    def look(self) -> None:
        # Of what ended the last look is kept: its seconds were spent.
        now = usages(self._shop, self._postgres)
        self._last |= now
        for name, size in memory(now).items():
            self.peak_mb[name] = max(size, self.peak_mb.get(name, 0.0))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    async def __aenter__(self) -> Self:
        self.look()
        self._first = dict(self._last)
        self._looking = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        self.look()


def _below(pid: int) -> set[int]:
    """A process and all that it has started, and those have."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        todo += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all below it, of those that have ended too once they were waited for."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        one = int(folder.name)
        children.setdefault(int(fields[1]), []).append(one)
        ticks[one] = sum(int(field) for field in fields[11:15])  # its own, its waited-for children's; user and system
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        total += ticks.get(one, 0)
        todo += children.get(one, [])
    return total / _TICKS
