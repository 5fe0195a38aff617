"""A whole windowshop as its users start it: `python -m deploy.local` on ports and a data folder of its own.

Knows only what the README tells: environment names, the ready line, the two doors. Used by the end-to-end
tests and the benchmark.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
READY = "windowshop is ready:"
PORTS = (
    "GATEWAY_PORT",
    "FEATURES_PORT",
    "RECOMMENDER_PORT",
    "GATEWAY_OPS_PORT",
    "FEATURES_OPS_PORT",
    "FEATURES_WORKER_OPS_PORT",
    "RECOMMENDER_OPS_PORT",
    "POSTGRES_PORT",
    "REDIS_PORT",
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Rest:
    """The REST door of a shop. `get` and `post` insist on a status; `send` takes any."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=15),
            # an unbounded pool: the tests decide how much they do at once
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def send(self, method: str, path: str, body: object = None) -> Reply:
        data = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json"} if body is not None else None
        async with self._session.request(method, self.base_url + path, data=data, headers=headers) as answer:
            return Reply(answer.status, answer.headers, await answer.text())

    async def get(self, path: str, status: int = 200) -> Any:
        return await self._insist("GET", path, None, status)

    async def post(self, path: str, body: object, status: int = 200) -> Any:
        return await self._insist("POST", path, body, status)

    async def catalogue(self) -> dict[str, dict[str, Any]]:
        """Every product, by id."""
        products: dict[str, dict[str, Any]] = {}
        token = ""
        while True:
            page = await self.get(f"/v1/products?pageSize=1000&pageToken={token}")
            products |= {product["id"]: product for product in page["products"]}
            token = page.get("nextPageToken", "")
            if not token:
                return products

    async def _insist(self, method: str, path: str, body: object, status: int) -> Any:
        reply = await self.send(method, path, body)
        assert reply.status == status, f"{method} {path}: {reply.status} instead of {status}: {reply.text}"
        return reply.json

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


class Shop:
    """One running stack. `start` returns at the ready line; `stop` when the supervisor has ended."""

    def __init__(self, data_dir: Path, *, demo: bool) -> None:
        self.data_dir = data_dir
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "WINDOWSHOP_DATA_DIR": str(data_dir),
            "WINDOWSHOP_DEMO": "1" if demo else "0",
            # By command only: a model that nobody asked for takes minutes of a core from the tests beside it.
            "RECOMMENDER_TRAIN_EVERY": "0",
        }
        self.base_url = f"http://localhost:{self.ports['GATEWAY_PORT']}"
        self.features_address = f"localhost:{self.ports['FEATURES_PORT']}"
        self.recommender_address = f"localhost:{self.ports['RECOMMENDER_PORT']}"
        self._output = data_dir.with_name(data_dir.name + ".out")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def output(self) -> str:
        """Everything the supervisor printed since the first start."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    async def start(self, timeout: float = 240) -> None:
        seen = self.output.count(READY)
        with self._output.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "deploy.local",
                cwd=ROOT, env=self.environment, stdin=asyncio.subprocess.DEVNULL, stdout=sink, stderr=sink,
            )  # fmt: skip
        try:
            async with asyncio.timeout(timeout):
                while self.output.count(READY) == seen:
                    if self._process.returncode is not None:
                        raise RuntimeError(f"the stack ended with {self._process.returncode}:\n{self.output}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await self.stop()
            raise RuntimeError(f"no ready line within {timeout} s:\n{self.output}") from None

    async def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 60) -> int:
        """Signals the supervisor, waits for it, and returns its exit code; kills it when it hangs."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(how)
        try:
            async with asyncio.timeout(timeout):
                return await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise RuntimeError(f"the stack did not stop within {timeout} s:\n{self.output}") from None

    def processes(self) -> dict[int, str]:
        """Every live process that carries this shop's data folder in its environment or command line.

        The Redis server writes a title over both, with its address in it.
        """
        return dict(_processes_naming(str(self.data_dir), f"127.0.0.1:{self.ports['REDIS_PORT']}"))

    async def run(self, *command: str) -> tuple[int, str]:
        """Runs a `windowshop` command against this shop; gives its exit code and output."""
        environment = {
            **self.environment,
            "WINDOWSHOP_FEATURES_ADDRESS": self.features_address,
            "WINDOWSHOP_RECOMMENDER_ADDRESS": self.recommender_address,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "windowshop_client.cli", *command,
            cwd=ROOT, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, output.decode(errors="replace")


@asynccontextmanager
async def running_shop(*, demo: bool, **environment: str) -> AsyncIterator[Shop]:
    """A started shop with a temporary data folder; both are gone at the end. ``environment``: what else it is told."""
    # not pytest's tmp_path: a Unix socket path inside must stay under 108 bytes
    folder = Path(tempfile.mkdtemp(prefix="shop-"))
    shop = Shop(folder / "data", demo=demo)
    shop.environment |= environment
    try:
        await shop.start()
        yield shop
    finally:
        try:
            await shop.stop()
        finally:
            _kill_all(shop)
            shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports that nobody listens on at this moment.

    Below the range from which the kernel takes the ports of outgoing connections: a port from that range
    may be gone again before the server that it is meant for has started. Behind each there is room for seven more:
    several of a kind are on ports in a row.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 32_000, 8), 1_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
        if len(ports) == count:
            break
    return ports


def _kill_all(shop: Shop) -> None:
    """The last resort of a failed test: a shop's processes never outlive it."""
    for pid in shop.processes():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _processes_naming(*texts: str) -> Iterable[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            known = command + b"\0" + (folder / "environ").read_bytes()
        except OSError:  # it ended meanwhile, or belongs to someone else
            continue
        if state != "Z" and any(text.encode() in known for text in texts):
            yield int(folder.name), command.replace(b"\0", b" ").decode(errors="replace").strip()
