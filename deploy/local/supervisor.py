"""Keeps parts running: starts them in order, restarts what dies, stops everything in reverse."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from deploy.local.child import Child, StartError
from deploy.local.report import Report, ending

# Soon enough for a blip to pass unnoticed; slow enough that a part which cannot run costs nothing.
_FIRST_DELAY = 0.5
_LAST_DELAY = 10.0
# Up for so long, a part counts as healthy and its next end as a new trouble.
_HEALTHY_AFTER = 30.0


class Part(Protocol):
    """Something that runs as one child process."""

    name: str

    @property
    def child(self) -> Child:
        """The process; raises StartError before the first start."""

    async def start(self) -> None:
        """Return when it is ready; raise StartError when it does not get there."""

    async def stop(self) -> None:
        """End it within its own grace; fine when it does not run."""


class Supervisor:
    """The parts of one stack."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._parts: list[Part] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._hurried = False

    async def start(self, parts: Sequence[Part]) -> None:
        """Start parts that do not wait for each other, side by side, and keep them running from then on.

        Raises StartError of the first that does not start; `stop` ends the others.
        """
        self._parts.extend(parts)
        tasks = [asyncio.create_task(self._start(part)) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._keepers.extend(asyncio.create_task(self._keep(part)) for part in parts)

    async def stop(self) -> None:
        """End all parts, the last started first. Nothing is left, even when this is hurried."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for part in reversed(self._parts):
            if self._hurried:
                self._kill(part)
            await part.stop()

    def hurry(self) -> None:
        """Turn a `stop` under way into killing; for people who cannot wait."""
        self._hurried = True
        for part in self._parts:
            self._kill(part)

    async def _start(self, part: Part) -> None:
        with self._report.step(part.name):
            await part.start()

    async def _keep(self, part: Part) -> None:
        loop = asyncio.get_running_loop()
        delay, began = _FIRST_DELAY, loop.time()
        while True:
            code = await part.child.wait()
            if loop.time() - began > _HEALTHY_AFTER:
                delay = _FIRST_DELAY
            self._report.say(f"{part.name} {ending(code)}; starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_DELAY)
            began = loop.time()
            try:
                await part.start()
            except StartError as error:
                self._report.say(str(error))
            except Exception as error:  # whatever it was: a keeper that gives up leaves the part down for good
                self._report.say(f"{part.name} does not start: {type(error).__name__}: {error}")
                await part.stop()  # it may run by now, half made
            else:
                self._report.say(f"{part.name} is back")

    @staticmethod
    def _kill(part: Part) -> None:
        with suppress(StartError):
            part.child.kill()
