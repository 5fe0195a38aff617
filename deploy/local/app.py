"""From settings to a running shop and back: the order in which things happen."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from deploy.local import demo, folder, ports, probes, service
from deploy.local.child import StartError
from deploy.local.postgres import Postgres
from deploy.local.report import Report
from deploy.local.settings import StackSettings
from deploy.local.supervisor import Part, Supervisor
from deploy.local.valkey import Valkey

# Of a supervisor that was killed: PostgreSQL writes a checkpoint before it leaves its port.
_ORPHANS_PATIENCE = 15.0
# The gateway looks for its services every second.
_REACHING_PATIENCE = 60.0
# `make` passes SIGTERM on, so one wish of a process group arrives twice.
_SAME_WISH = 1.0
_WISHES = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Log = Callable[[str], Path]
Services = Callable[[StackSettings, Mapping[str, str], Mapping[str, str], Log], Sequence[Part]]


async def run(settings: StackSettings, report: Report, services: Services = service.services) -> int:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; the exit code. `services` makes our own processes."""
    data = settings.data_dir.absolute()
    try:
        with folder.locked(data) as untidy:
            complaints = await ports.wait_free(settings.all_ports(), _ORPHANS_PATIENCE if untidy else 0)
            if complaints:
                raise StartError("\n".join(complaints.values()))
            return await _run(settings, data, report, services)
    except (StartError, folder.FolderError, OSError) as error:
        report.say(str(error))
        return 1


async def _run(settings: StackSettings, data: Path, report: Report, services: Services) -> int:
    supervisor = Supervisor(report)
    work = asyncio.create_task(_bring_up(settings, data, report, supervisor, services))
    _on_signals(work, supervisor)
    try:
        with suppress(asyncio.CancelledError):  # by a signal
            await work
    finally:
        report.say("stopping")
        await supervisor.stop()
        _be_deaf()
    report.say("stopped")
    return 0


async def _bring_up(
    settings: StackSettings, data: Path, report: Report, supervisor: Supervisor, services: Services
) -> None:
    def log(name: str) -> Path:
        return folder.fresh_log(data, name)

    report.say(f"data and logs: {data}")
    stores, urls = _stores(settings, data, log)
    await supervisor.start(stores)
    await supervisor.start(services(settings, os.environ, urls, log))
    missed = await probes.reached(settings.gateway_port, _REACHING_PATIENCE)
    if missed is not None:
        path, answer = missed
        raise StartError(f"{path} is not answered after {_REACHING_PATIENCE:g} s: {answer.status} {answer.body}")
    if settings.demo:
        await demo.ensure(settings, data, report)
    report.ready(settings.gateway_port)
    await asyncio.Event().wait()


def _stores(settings: StackSettings, data: Path, log: Log) -> tuple[list[Part], dict[str, str]]:
    """The embedded servers that are needed, and where all stores are, by the services' environment names."""
    parts: list[Part] = []
    urls: dict[str, str] = {}
    if settings.databases:
        postgres = Postgres(
            data / "postgres", settings.postgres_port, log=log("postgres"), databases=settings.databases
        )
        parts.append(postgres)
        urls |= {f"{name.upper()}_DATABASE_URL": postgres.near_dsn(name) for name in settings.databases}
    if settings.features_redis_url is None:
        valkey = Valkey(data / "valkey", settings.redis_port, log=log("valkey"))
        parts.append(valkey)
        urls["FEATURES_REDIS_URL"] = valkey.url
    return parts, urls


def _on_signals(work: asyncio.Task[None], supervisor: Supervisor) -> None:
    """The first signal ends `work`; another one, later, hurries the stop."""
    loop = asyncio.get_running_loop()
    first: float | None = None

    def heard() -> None:
        nonlocal first
        if first is None:
            first = loop.time()
            work.cancel()
        elif loop.time() - first > _SAME_WISH:
            supervisor.hurry()

    for number in _WISHES:
        loop.add_signal_handler(number, heard)


def _be_deaf() -> None:
    """Nothing is left to stop: a signal must not turn the last moments into a failure."""
    for number in _WISHES:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
