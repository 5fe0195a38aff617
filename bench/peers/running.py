"""Installs the peers into environments of their own and runs them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from deploy.local.child import Child, tail
from deploy.local.probes import get

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / ".venvs"
REQUIREMENTS = {"fabra": ("fabra-ai==2.3.3",), "feast": ("feast[redis]==0.67.0",)}
START_SECONDS = 300.0

Values = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Entity type -> id -> feature -> value."""

_FEAST_CONFIGURATION = """\
project: bench
provider: local
registry:
  path: registry.db
  cache_ttl_seconds: 3600
offline_store:
  type: file
online_store:
  type: redis
  connection_string: "127.0.0.1:{redis_port}"
entity_key_serialization_version: 3
"""


def install(name: str) -> Path:
    """The folder of programs of the peer's environment, made when it is not there. A minute each, once."""
    folder = ENVIRONMENTS / name
    stamp = folder / ".installed"
    wanted = "\n".join(REQUIREMENTS[name])
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        python = str(folder / "bin" / "python")
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        # what it prints is no result
        subprocess.run([*pip, *REQUIREMENTS[name]], check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return folder / "bin"


def installed_versions(name: str) -> dict[str, str]:
    """Of the packages that matter for speed."""
    listed = subprocess.run(
        [ENVIRONMENTS / name / "bin" / "python", "-m", "pip", "list", "--format", "json"],
        check=True,
        capture_output=True,
    )
    matter = {"fabra-ai", "feast", "fastapi", "pydantic", "redis", "uvicorn", "uvloop", "hiredis"}
    return {
        one["name"]: one["version"]
        for one in json.loads(listed.stdout)
        if one["name"].lower().replace("_", "-") in matter
    }


@asynccontextmanager
async def running_fabra(folder: Path, port: int, redis_port: int, values: Values, workers: int) -> AsyncIterator[int]:
    """Its own application under uvicorn: `fabra serve` is the same with one process and a log line per request."""
    python = str(install("fabra") / "python")
    environment = {**os.environ, "FABRA_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0"}
    program = str(HERE / "fabra_server.py")
    given = _written(values, folder)
    await _finish([python, program, "load", str(given)], folder, environment)
    command = [python, program, "serve", str(port), str(workers)]
    async with _serving("fabra", command, folder, environment, port) as pid:
        yield pid


@asynccontextmanager
async def running_feast(folder: Path, port: int, redis_port: int, values: Values, workers: int) -> AsyncIterator[int]:
    """`feast serve`, without its access log, and without the restart of a worker after each 1,000 requests."""
    programs = install("feast")
    (folder / "feature_store.yaml").write_text(_FEAST_CONFIGURATION.format(redis_port=redis_port))
    environment = {**os.environ, "FEAST_USAGE": "False", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    given = _written(values, folder)
    await _finish([str(programs / "python"), str(HERE / "feast_repository.py"), str(given)], folder, environment)
    command = [
        str(programs / "feast"), "serve", "--port", str(port), "--workers", str(workers), "--no-access-log",
        "--max-requests", "0", "--max-requests-jitter", "0", "--registry_ttl_sec", "3600",
    ]  # fmt: skip
    async with _serving("feast", command, folder, environment, port) as pid:
        yield pid


def _written(values: Values, folder: Path) -> Path:
    path = folder / "values.json"
    path.write_text(json.dumps(values))
    return path


async def _finish(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    log = folder / "load.log"
    child = await Child.start(command, log=log, env=environment, cwd=folder)
    try:
        code = await child.wait()
    finally:
        await child.stop(grace=2.0)
    if code:
        raise RuntimeError(f"{command} ended with {code}:\n{tail(log)}")


@asynccontextmanager
async def _serving(
    name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], port: int
) -> AsyncIterator[int]:
    """Its process id."""
    log = folder / "serve.log"
    child = await Child.start(command, log=log, env=environment, cwd=folder)
    try:
        deadline = monotonic() + START_SECONDS
        while (await get(f"http://127.0.0.1:{port}/health")).status != 200:
            if child.returncode is not None or monotonic() > deadline:
                raise RuntimeError(f"{name} does not start:\n{tail(log)}")
            await asyncio.sleep(0.2)
        yield child.pid
    finally:
        await child.stop(grace=5.0)
