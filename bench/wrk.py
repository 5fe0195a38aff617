"""Closed loops by wrk, which costs a tenth of what a driver in Python does on the cores that it shares."""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import click
import msgspec

INSTALL = "wrk is not installed (Debian: apt-get install wrk); a driver in Python takes its place and costs more"


class Outcome(msgspec.Struct):
    """As the script prints it. `short`: pages without ten results; `broken`: connections or answers that failed."""

    seconds: float
    pages: int
    writes: int
    degraded: int
    short: int
    refused: int
    broken: int
    driver_cpu_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Pages alone."""
        return round(self.pages / self.seconds, 1)

    @property
    def errors(self) -> dict[str, int]:
        found = {"pages without ten results": self.short, "not answered 200": self.refused, "broken": self.broken}
        return {text: times for text, times in found.items() if times}


def installed() -> bool:
    return shutil.which("wrk") is not None


def ensure() -> bool:
    """Whether it is there; installs it where that is possible, on Debian as root."""
    if not installed() and os.getuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["install", "-y", "--no-install-recommends", "wrk"], ["update"]) * 2:
            done = subprocess.run(["apt-get", "-qq", *command], stdout=sys.stderr, env=environment, check=False)
            if command[0] == "install" and done.returncode == 0:
                break
    return installed()


async def closed_loop(port: int, connections: int, seconds: float, script: Path, *arguments: str) -> Outcome:
    """One thread, as the drivers in Python have. Raises ClickException when wrk fails."""
    before = _children_cpu()
    outcome = msgspec.json.decode(await run(port, connections, seconds, script, *arguments), type=Outcome)
    outcome.driver_cpu_seconds = round(_children_cpu() - before, 3)
    return outcome


async def run(port: int, connections: int, seconds: float, script: Path, *arguments: str) -> str:
    """The JSON object that the script prints as its last line. Raises ClickException when there is none."""
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(script),
        f"http://127.0.0.1:{port}", "--", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = output.decode(errors="replace").strip().splitlines()
    if process.returncode or not lines or not lines[-1].startswith("{"):
        raise click.ClickException(f"wrk failed: {lines[-1:]}")
    return lines[-1]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
