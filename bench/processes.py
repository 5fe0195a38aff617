"""What processes cost, from /proc: processor time and memory, by what they are."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
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
    "fabra_server": "fabra",
    "bin/feast": "feast",
}
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process. Memory in MB: its own, and what may be shared with others of its kind."""

    name: str
    cpu_seconds: float
    own_mb: float
    shared_mb: float


def name_of(command: str) -> str:
    """What a process is, by its command line."""
    return next((name for text, name in _NAMES.items() if text in command), _OTHER)


def usages(shop: Shop, postgres: Postgres | None = None) -> dict[int, Usage]:
    """Of every process of a shop, by process id; `postgres`: where it is not the shop's own."""
    roots = [*shop.processes(), *([postgres.child.pid] if postgres else [])]
    return usages_of(names(*roots))


def usages_of(named: Mapping[int, str]) -> dict[int, Usage]:
    """By process id, of those that live."""
    found = {pid: usage_of(pid, name) for pid, name in named.items()}
    return {pid: usage for pid, usage in found.items() if usage is not None}


def names(*roots: int) -> dict[int, str]:
    """What processes are, and all that they have started: what has no name of its own is its parent's. Sessions of
    PostgreSQL carry their database in the command line.
    """
    found: dict[int, str] = {}
    for pid, parent in _below(*roots).items():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            name = name_of(command)
            found[pid] = found.get(parent, _OTHER) if name == _OTHER else name
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


class Meter:
    """What processes spend from its making on, and this one with those that it has started and waited for: `driver`."""

    def __init__(self, named: Mapping[int, str]) -> None:
        self._named = named
        self._before = usages_of(named)
        self._own = _own_cpu()

    def spent(self) -> dict[str, float]:
        """Seconds by name."""
        return {**cpu_between(self._before, usages_of(self._named)), "driver": round(_own_cpu() - self._own, 3)}


def per_call(spent: Mapping[str, float], calls: int, unit: float) -> dict[str, float]:
    """Processor time of each of `calls`, by process, and of all; `unit` of them is a second."""
    cost = {name: round(seconds * unit / max(1, calls), 3) for name, seconds in spent.items() if seconds > 0}
    return {**cost, "all": round(sum(cost.values()), 3)}


def _own_cpu() -> float:
    return sum(os.times()[:4])


def own_memory(found: Mapping[int, Usage]) -> dict[str, float]:
    """MB by name: what processes have of their own alone."""
    sums: dict[str, float] = {}
    for usage in found.values():
        sums[usage.name] = sums.get(usage.name, 0.0) + usage.own_mb
    return {name: round(size, 1) for name, size in sorted(sums.items())}


def memory(found: Mapping[int, Usage]) -> dict[str, float]:
    """MB by name: what each process has of its own, and the shared part once, as large as the largest sees it."""
    shared: dict[str, float] = {}
    for usage in found.values():
        shared[usage.name] = max(usage.shared_mb, shared.get(usage.name, 0.0))
    return {name: round(own + shared[name], 1) for name, own in own_memory(found).items()}


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


def _below(*roots: int) -> dict[int, int]:
    """Processes and all that they have started, and those have; each after its parent, whose id is its value."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))

    def walk(pid: int, parent: int) -> Iterator[tuple[int, int]]:
        yield pid, parent
        for child in children.get(pid, []):
            yield from walk(child, pid)

    walks = {root: dict(walk(root, 0)) for root in roots}
    inner = {pid for walked in walks.values() for pid, parent in walked.items() if parent}
    return {pid: parent for root, walked in walks.items() if root not in inner for pid, parent in walked.items()}


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
