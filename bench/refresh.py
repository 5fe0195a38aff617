"""`python -m bench refresh`: what keeping features fresh costs, with some users active, alone and beside many who left.

On stores of its own: the active users' events go through WriteEvents, those of the users who are gone straight into the
log's tables. Each time Redis begins empty, the worker finds out by itself what there is to do, and is measured from
when it has done that, for the same time, with the same events coming. Refresh intervals are shortened, or little would
come due in that time. In the end everybody is here again, and read: that is what Redis must hold at most.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
from redis.asyncio import Redis
from rich.progress import Progress
from windowshop.features.v1 import features_pb2 as f
from windowshop.features.v1.features_pb2_grpc import FeatureServiceStub

from bench import shopping
from bench.crowd import PRODUCTS, come_back, console, hurried, load_crowd
from bench.processes import cpu_seconds
from bench.results import FOLDER, circumstances, publish
from deploy.local.postgres import Postgres
from deploy.local.valkey import Valkey
from services.runtime.client import channel
from tests.support.fleet import Fleet, running_fleet
from tests.support.shop import free_ports
from tests.support.stack import temporary_folder
from tests.support.streamed_catalogue import running_catalogue, signal

if TYPE_CHECKING:  # the stub of asynchronous calls is known to type checkers alone
    from windowshop.features.v1.features_pb2_grpc import FeatureServiceAsyncStub

_PAGE = 500
_CALLERS = 4
_TIMEOUT = 60.0
_DUE = "ws:1:marks:{marks}:due:"

say = console.print


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run."""

    users: int
    active: int
    seconds: float
    """Of each measurement."""
    rate: int
    """Events a second that the active users send meanwhile."""
    hurry: int
    """By this refresh intervals are shortened."""
    remembered: int
    """Users that are read in the end."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Counted since the processes started; of User alone what has an entity."""

    at: float
    worker_cpu: float
    postgres_cpu: float
    computed: float
    lag: dict[float, float]
    """Upper bound of a bucket, seconds -> entities that waited no longer."""


@click.command()
@click.option("--users", default=1_000_000, show_default=True)
@click.option("--active", default=20_000, show_default=True)
@click.option("--seconds", default=120.0, show_default=True, help="Of each measurement.")
@click.option("--rate", default=200, show_default=True, help="Events a second of the active users meanwhile.")
@click.option("--hurry", default=5, show_default=True, help="By this refresh intervals are shortened.")
@click.option("--remembered", default=1_000_000, show_default=True, help="Users that are read in the end.")
@click.option("--output", default=FOLDER / "refresh.json", show_default=True, type=click.Path(path_type=Path))
def command(users: int, active: int, seconds: float, rate: int, hurry: int, remembered: int, output: Path) -> None:
    """Measures the refresh of active users alone and beside a crowd that is gone, and the memory that all take."""
    publish(asyncio.run(run(Plan(users, active, seconds, rate, hurry, min(users, remembered)))), output)


async def run(plan: Plan) -> dict[str, Any]:
    about = circumstances()
    async with running_stack(plan.hurry) as stack:
        say(f"{plan.active:,} active users ...")
        await stack.write(shopping.history(plan.active, PRODUCTS, datetime.now(UTC)))
        alone = await stack.measure(plan, "alone")
        say(alone)
        say(f"{plan.users - plan.active:,} users who are gone ...")
        await load_crowd(stack.dsn, plan.active, plan.users)
        beside = await stack.measure(plan, "beside them")
        say(beside)
        say(f"{plan.remembered:,} users here again ...")
        empty = await stack.forget_users()
        await come_back(stack.dsn, plan.remembered)
        full = await stack.read_all(plan.remembered)
    return {
        "cost_ratio": round(beside["cpu_seconds"] / alone["cpu_seconds"], 3),
        "cost_ratio_per_computed": round(beside["cpu_ms_per_computed"] / alone["cpu_ms_per_computed"], 3),
        "computed_per_second": beside["computed_per_second"],
        "lag_p99_s": beside["lag_p99_s"],
        "bytes_per_user": round((full - empty) / plan.remembered),
        "remembered": plan.remembered,
        "remembered_mb": round((full - empty) / 1e6, 1),
        "users": plan.users,
        "active": plan.active,
        "seconds": plan.seconds,
        "events_per_second": plan.rate,
        "refresh_intervals_divided_by": plan.hurry,
        "alone": alone,
        "beside": beside,
        **about,
    }


@dataclass(frozen=True, slots=True)
class Stack:
    """One server, one worker, their stores, and a catalogue that streams."""

    fleet: Fleet
    postgres: Postgres
    redis: Redis
    dsn: str
    stub: "FeatureServiceAsyncStub"

    async def write(self, events: list[f.Event]) -> None:
        """Through the service, several calls at a time."""
        requests = iter(shopping.batches(events, 200))

        async def caller() -> None:
            for request in requests:
                await self.stub.WriteEvents(request, timeout=_TIMEOUT)

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))

    async def measure(self, plan: Plan, name: str) -> dict[str, Any]:
        """Begins with an empty Redis; figures of the worker at its usual work, after it has filled it."""
        worker = self.fleet.workers[0]
        await worker.stop()
        await self.redis.flushall()
        begin = perf_counter()
        await worker.start()
        await self._until_idle()
        filled = perf_counter() - begin
        say(f"{name}: filled within {filled:.1f} s, measuring for {plan.seconds:g} s ...")
        before = await self._see()
        await self._visits(plan)
        after = await self._see()
        took = after.at - before.at
        lag = {bound: count - before.lag[bound] for bound, count in after.lag.items()}
        cpu = after.worker_cpu + after.postgres_cpu - before.worker_cpu - before.postgres_cpu
        return {
            "cpu_seconds": round(cpu, 2),
            "cpu_ms_per_computed": round(cpu * 1_000 / max(1.0, after.computed - before.computed), 3),
            "worker_cpu_seconds": round(after.worker_cpu - before.worker_cpu, 2),
            "postgres_cpu_seconds": round(after.postgres_cpu - before.postgres_cpu, 2),
            "computed": round(after.computed - before.computed),
            "computed_per_second": round((after.computed - before.computed) / took, 1),
            "lag_p50_s": quantile(lag, 0.5),
            "lag_p99_s": quantile(lag, 0.99),
            "filled_within_s": round(filled, 1),
            "queued": await self._queued("User"),
            "redis_mb": round((await self.redis.info("memory"))["used_memory"] / 1e6, 1),
        }

    async def forget_users(self) -> float:
        """Bytes of Redis without any user: the worker is stopped, products stay."""
        await self.fleet.workers[0].stop()
        for bucket in range(32):
            async for key in self.redis.scan_iter(f"ws:1:{{User{bucket}}}:*", count=5_000):
                await self.redis.unlink(key)
        await self.redis.delete(_DUE + "User")
        return await self._memory()

    async def read_all(self, users: int) -> float:
        """Reads every user, which computes what is not stored; bytes of Redis after it."""
        starts = iter(range(0, users, _PAGE))
        with Progress(console=console) as progress:
            task = progress.add_task("reading all users", total=users)

            async def caller() -> None:
                for start in starts:
                    ids = [shopping.user_id(number) for number in range(start, min(start + _PAGE, users))]
                    request = f.BatchGetFeaturesRequest(entity="User", ids=ids, features=shopping.KEPT_FEATURES)
                    await self.stub.BatchGetFeatures(request, timeout=_TIMEOUT)
                    progress.advance(task, len(ids))

            await asyncio.gather(*(caller() for _ in range(_CALLERS)))
        return await self._memory()

    async def _visits(self, plan: Plan) -> None:
        """Each second, at its appointed time, some of the active users look at something."""
        begin = perf_counter()
        stamp = round(datetime.now(UTC).timestamp())
        for second in range(int(plan.seconds)):
            await asyncio.sleep(max(0.0, begin + second - perf_counter()))
            numbers = range(second * plan.rate, (second + 1) * plan.rate)
            events = [
                shopping.event(f"v{stamp}.{n}", "detail-page-view", shopping.user_id(n % plan.active), n % PRODUCTS)
                for n in numbers
            ]
            await self.stub.WriteEvents(f.WriteEventsRequest(events=events), timeout=_TIMEOUT)
        await asyncio.sleep(max(0.0, begin + plan.seconds - perf_counter()))

    async def _until_idle(self) -> None:
        """Until nothing is due, nor claimed, for a while: the worker has seen the log and done what there was."""
        calm = 0
        while calm < 8:
            await asyncio.sleep(0.25)
            soon = round((datetime.now(UTC) + timedelta(seconds=1)).timestamp() * 1_000)
            due = [await self.redis.zcount(_DUE + entity, "-inf", soon) for entity in ("User", "Product")]
            known = [await self._queued(entity) for entity in ("User", "Product")]
            calm = calm + 1 if all(known) and not any(due) else 0

    async def _queued(self, entity: str) -> int:
        """All but the queue's seal, which is never due."""
        count: int = await self.redis.zcount(_DUE + entity, "-inf", "(+inf")
        return count

    async def _see(self) -> Seen:
        worker = self.fleet.workers[0]
        buckets = await worker.samples("windowshop_refresh_lag_seconds_bucket", entity="User")
        return Seen(
            perf_counter(),
            cpu_seconds(worker.service.child.pid),
            cpu_seconds(self.postgres.child.pid),
            await worker.metric("windowshop_refresh_lag_seconds_count", entity="User"),
            {float(labels["le"]): value for labels, value in buckets},
        )

    async def _memory(self) -> float:
        info = await self.redis.info("memory")
        return float(info["used_memory"] - info["mem_clients_normal"] - info["mem_aof_buffer"])


def quantile(cumulative: dict[float, float], share: float) -> float:
    """Of a histogram, by upper bounds: as Prometheus interpolates it; 0 without a sample."""
    bounds = sorted(cumulative)
    wanted = share * cumulative[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        if cumulative[bound] >= wanted > 0:
            if bound == float("inf"):
                return low
            return round(low + (bound - low) * (wanted - below) / (cumulative[bound] - below), 4)
        low, below = bound, cumulative[bound]
    return 0.0


@asynccontextmanager
async def running_stack(hurry: int) -> AsyncIterator[Stack]:
    """As `make run` has them, but for the time that Redis has on a busy machine, and the definitions."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(temporary_folder())
        ports = free_ports(2)
        postgres = Postgres(folder / "postgres", ports[0], log=folder / "postgres.log", databases=["features"])
        await postgres.start()
        stack.push_async_callback(postgres.stop)
        valkey = Valkey(folder / "valkey", ports[1], log=folder / "valkey.log")
        await valkey.start()
        stack.push_async_callback(valkey.stop)
        catalogue = await stack.enter_async_context(running_catalogue())
        products = shopping.catalogue(PRODUCTS)
        for start in range(0, PRODUCTS, _PAGE):
            await catalogue.put(
                *(signal(p.id, p.categories[0], p.price, p.available_quantity) for p in products[start : start + _PAGE])
            )
        dsn = postgres.dsn("features")
        settings = {
            "FEATURES_REDIS_TIMEOUT": "1",
            "WINDOWSHOP_LOG_LEVEL": "warning",
            "FEATURES_DEFINITIONS": str(hurried(folder, hurry)),
        }
        fleet = await stack.enter_async_context(
            running_fleet(dsn, valkey.url, catalogue.address, servers=1, workers=1, settings=settings)
        )
        redis = await stack.enter_async_context(Redis.from_url(valkey.url, decode_responses=True))
        connection = await stack.enter_async_context(channel(fleet.address))
        yield Stack(fleet, postgres, redis, dsn, FeatureServiceStub(connection))
