"""The load driver of `bench recommend`, a process of its own: takes a Task as JSON on its standard input, prints an
Outcome as JSON. The traffic is that of `bench.shopping_day`, over the cheap connections of `bench.wire`.

Requests start as bench.loops says.
"""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from time import perf_counter, process_time

import msgspec
import uvloop

from bench.loops import closed, paced
from bench.results import percentile
from bench.shopping_day import BLOCK, EXPLAINED, WRITE, Block, Judge, blocks, body, path
from bench.synthetic import World
from bench.wire import Pool, WireError, request


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement. `rate` recommendations a second make it open; without it it is closed."""

    port: int
    products: int
    users: int
    seconds: float
    connections: int
    name: str
    """Of the traffic: another name, other users; and of its events, so never twice in one shop."""
    rate: float | None = None
    ranked: bool = True
    """Whether the version that serves has a trained ranker, see Judge."""


@dataclass(slots=True)
class Outcome:
    """Milliseconds, of right answers, the degraded ones among them."""

    requests: int = 0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    p50_ms_viewed: float = 0.0
    """Of those who had just viewed something."""
    p99_ms_viewed: float = 0.0
    write_p50_ms: float = 0.0
    write_p99_ms: float = 0.0
    writes: int = 0
    degraded: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    driver_cpu_seconds: float = 0.0


class Driver:
    """Asks over a pool of connections and keeps what came of it."""

    def __init__(self, pool: Pool, judge: Judge, name: str) -> None:
        self._pool = pool
        self._judge = judge
        self._name = name
        self._asked = 0
        self._written = 0
        self.latencies: list[float] = []
        self.viewed: list[float] = []
        self.writes: list[float] = []
        self.degraded = 0
        self.errors: Counter[str] = Counter()

    async def recommend(self, user: int, viewed: bool, start: float) -> None:
        """One page; its latency counts from `start`."""
        self._asked += 1
        explained = self._asked % EXPLAINED == 0
        answer = await self._ask(request("GET", path(user, explain=explained)))
        if answer is None:
            return
        elapsed = (perf_counter() - start) * 1_000
        problem, degraded = self._judge.read(*answer, explained=explained)
        if problem:
            self.errors[problem] += 1
            return
        self.degraded += degraded
        self.latencies.append(elapsed)
        if viewed:
            self.viewed.append(elapsed)

    async def write(self, block: Block, start: float) -> None:
        """The views of a block."""
        self._written += 1
        answer = await self._ask(request("POST", WRITE, body(block, f"{self._name}.{self._written}")))
        if answer is None:
            return
        if answer[0] != 200 or msgspec.json.decode(answer[1]).get("accepted") != len(block.views):
            self.errors[f"events not accepted: status {answer[0]}"] += 1
            return
        self.writes.append((perf_counter() - start) * 1_000)

    async def _begin(self, block: Block, start: float) -> None:
        """The views of a block, and the first who asks."""
        await asyncio.gather(self.write(block, start), self.recommend(block.users[0], block.viewed[0], start))

    async def _ask(self, raw: bytes) -> tuple[int, bytes] | None:
        try:
            return await self._pool.ask(raw)
        except WireError as error:
            self.errors[str(error)] += 1
            return None

    async def open(self, traffic: Iterator[Block], rate: float, seconds: float) -> float:
        """`rate` counts recommendations alone. Returns the seconds it took, the last answer included."""
        block: Block

        def ask(number: int, start: float) -> Coroutine[None, None, object]:
            nonlocal block
            place = number % BLOCK
            if place:
                return self.recommend(block.users[place], block.viewed[place], start)
            block = next(traffic)
            return self._begin(block, start)

        return await paced(rate, int(rate * seconds), ask)

    async def closed(self, traffic: Iterator[Block], connections: int, seconds: float) -> float:
        """Returns the seconds it took."""
        calls = _calls(traffic)

        async def ask(start: float) -> None:
            call = next(calls)
            if isinstance(call, Block):
                await self.write(call, start)
            else:
                await self.recommend(*call, start)

        return await closed(connections, seconds, ask)


def _calls(traffic: Iterator[Block]) -> Iterator[Block | tuple[int, bool]]:
    for block in traffic:
        yield block
        yield from zip(block.users, block.viewed, strict=True)


async def measure(task: Task) -> Outcome:
    """Opens the connections before the time begins."""
    world = World(task.products, task.users)
    traffic = blocks(world, task.name)
    next(traffic)  # the draw of tastes takes a moment
    async with Pool.opened(task.port, task.connections) as pool:
        driver = Driver(pool, Judge(world, ranked=task.ranked), task.name)
        gc.collect()
        gc.freeze()  # the world is large, and a collection of it would count as latency
        cpu = process_time()
        if task.rate is None:
            took = await driver.closed(traffic, task.connections, task.seconds)
        else:
            took = await driver.open(traffic, task.rate, task.seconds)
        cpu = process_time() - cpu
    return Outcome(
        requests=len(driver.latencies) + driver.errors.total(),
        per_second=round(len(driver.latencies) / took, 1),
        p50_ms=percentile(driver.latencies, 50),
        p99_ms=percentile(driver.latencies, 99),
        max_ms=percentile(driver.latencies, 100),
        p50_ms_viewed=percentile(driver.viewed, 50),
        p99_ms_viewed=percentile(driver.viewed, 99),
        write_p50_ms=percentile(driver.writes, 50),
        write_p99_ms=percentile(driver.writes, 99),
        writes=len(driver.writes),
        degraded=driver.degraded,
        errors=dict(driver.errors),
        driver_cpu_seconds=round(cpu, 3),
    )


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    print(msgspec.json.encode(uvloop.run(measure(task))).decode())


if __name__ == "__main__":
    main()
