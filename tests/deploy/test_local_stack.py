"""`python -m deploy.local` as a process: what it says, what it restarts, what it leaves behind."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from deploy.local import ports
from deploy.local.service import services
from deploy.local.settings import STORES, StackSettings
from tests.support.stack import temporary_folder
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PORTS = [str(f.alias) for name, f in StackSettings.model_fields.items() if name.endswith("_port")]
ORDINARY_USER = 65534  # nobody; initdb insists on a user that has a name


class Stack:
    """A supervisor in a process of its own, on ports and a folder of its own."""

    def __init__(self, folder: Path, user: int | None = None) -> None:
        self.folder = folder
        self.ports = _free_ports()
        self._user = user
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, module: str = "tests.deploy.standin", mode: str = "plain", **env: str) -> None:
        environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "WINDOWSHOP_DATA_DIR": str(self.folder / "data"),
            "WINDOWSHOP_DEMO": "0",
            "STANDIN_MODE": mode,
            **env,
        }
        # Inside the namespace this user owns what root owns outside, so that it may read an interpreter in root's home.
        drop = () if self._user is None else ("unshare", "--user", f"--map-user={self._user}")
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self._process = await asyncio.create_subprocess_exec(
                *drop, sys.executable, "-m", module,
                cwd=ROOT, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    async def ready(self) -> None:
        def printed() -> bool:
            if self.process.returncode is not None:
                raise RuntimeError(self.err)
            return self.out == f"windowshop is ready: http://localhost:{self.ports['GATEWAY_PORT']}\n"

        await eventually(printed, timeout=40)

    async def starts(self) -> int:
        """How often the stand-in with a database has started on this data; 0 while it is away."""
        with suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.ports['FEATURES_PORT']}/") as answer,
            ):
                return int(await answer.text())
        return 0

    def alive(self) -> set[tuple[int, str]]:
        """The processes below the supervisor, by id and start time."""
        return _descendants(self.process.pid)


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Not started yet; whatever it started is gone afterwards."""
    async with temporary_folder() as folder:
        made = Stack(folder)
        yield made
        await _end(made)


async def _end(stack: Stack) -> None:
    if stack._process is not None and stack._process.returncode is None:
        below = stack.alive()
        stack.process.kill()
        await stack.process.wait()
        await eventually(lambda: not _living(below), timeout=30)


def _free_ports() -> dict[str, int]:
    """All held at once, so that they differ."""
    sockets = [socket.socket() for _ in PORTS]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in zip(PORTS, sockets, strict=True)}
    finally:
        for one in sockets:
            one.close()


def _processes() -> dict[int, tuple[int, str, str]]:
    """pid -> (parent, start time, state), of everything on the machine."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            found[int(stat.parent.name)] = (int(words[1]), words[19], words[0])
    return found


def _descendants(root: int) -> set[tuple[int, str]]:
    processes = _processes()
    known, found = {root}, set()
    while more := {pid for pid, (parent, _, _) in processes.items() if parent in known and pid not in known}:
        known |= more
        found |= {(pid, processes[pid][1]) for pid in more}
    return found


def _living(wanted: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those that still run; a zombie has ended and waits for whoever inherited it."""
    return wanted & {(pid, began) for pid, (_, began, state) in _processes().items() if state != "Z"}


def _child_of(stack: Stack, word: str) -> int:
    """The supervisor's own child with a word in its command line."""
    for pid, (parent, _, _) in _processes().items():
        if parent == stack.process.pid and word in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
            return pid
    raise AssertionError(f"no child with {word!r}")


async def test_a_taken_port_is_named_at_once_every_time(stack: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stack.ports["GATEWAY_PORT"]))
        other.listen()
        for _ in range(2):
            await stack.start(module="deploy.local")
            async with asyncio.timeout(12):  # waiting for a killed stack to leave takes 15 s
                assert await stack.process.wait() == 1
            assert stack.err == (
                f"port {stack.ports['GATEWAY_PORT']} is taken; choose another one by GATEWAY_PORT=<port>\n"
            )


async def test_every_wrong_setting_is_named(stack: Stack) -> None:
    await stack.start(module="deploy.local", GATEWAY_PORT="0", WINDOWSHOP_DEMO="perhaps")
    assert await stack.process.wait() == 2
    assert "GATEWAY_PORT" in stack.err
    assert "WINDOWSHOP_DEMO" in stack.err
    assert "Traceback" not in stack.err


async def test_one_port_given_twice_is_named(stack: Stack) -> None:
    await stack.start(module="deploy.local", GATEWAY_PORT="7001", REDIS_PORT="7001")
    assert await stack.process.wait() == 2
    assert "GATEWAY_PORT and REDIS_PORT are both 7001" in stack.err


async def test_sigterm_leaves_no_process_and_the_data_is_found_again(stack: Stack) -> None:
    for number in (1, 2):
        await stack.start()
        await stack.ready()
        assert await stack.starts() == number
        below = stack.alive()
        assert len(below) > 4  # PostgreSQL alone has several
        stack.process.terminate()
        assert await stack.process.wait() == 0
        assert not _living(below)


async def test_sigkill_leaves_no_process_and_hinders_no_start(stack: Stack) -> None:
    await stack.start()
    await stack.ready()
    below = stack.alive()
    stack.process.kill()
    await stack.process.wait()
    await stack.start()  # at once: waits for the orphans to leave
    await stack.ready()
    assert not _living(below)
    assert await stack.starts() == 2


@pytest.mark.parametrize("word", ["features", "valkey-server", "bin/postgres"])
async def test_what_dies_is_started_again(stack: Stack, word: str) -> None:
    await stack.start()
    await stack.ready()
    name = {"valkey-server": "valkey", "bin/postgres": "postgres"}.get(word, word)
    old = _child_of(stack, word)
    os.kill(old, signal.SIGKILL)
    await eventually(lambda: f"{name} is back" in stack.err, timeout=40)
    assert f"{name} was ended by SIGKILL; starting it again in 0.5 s" in stack.err
    assert _child_of(stack, word) != old


async def test_a_part_that_cannot_start_shows_its_last_words(stack: Stack) -> None:
    await stack.start(mode="broken")
    below: set[tuple[int, str]] = set()
    while stack.process.returncode is None:
        below |= stack.alive()
        await asyncio.sleep(0.05)  # collects what lives meanwhile
    assert stack.process.returncode == 1
    assert "gateway does not start" in stack.err
    assert "the gateway has no legs to stand on" in stack.err
    assert "windowshop is ready" not in stack.out
    assert not _living(below)


async def test_a_second_signal_ends_what_does_not_listen(stack: Stack) -> None:
    await stack.start(mode="stubborn")
    await stack.ready()
    below = stack.alive()

    def insisted() -> bool:
        if stack.process.returncode is None:
            stack.process.send_signal(signal.SIGINT)
        return stack.process.returncode is not None

    # Its grace would be 15 s.
    await eventually(insisted, timeout=10, interval=0.2)
    assert stack.process.returncode == 0
    assert not _living(below)


async def test_a_data_folder_serves_one_stack(stack: Stack) -> None:
    await stack.start()
    await stack.ready()
    second = Stack(stack.folder / "second")
    second.folder.mkdir()
    await second.start(module="deploy.local", WINDOWSHOP_DATA_DIR=str(stack.folder / "data"))
    assert await second.process.wait() == 1
    assert f"in use by another windowshop (process {stack.process.pid})" in second.err


async def test_an_ordinary_user_may_run_it() -> None:
    async with temporary_folder() as folder:
        root = os.geteuid() == 0
        stack = Stack(folder, user=ORDINARY_USER if root else None)
        try:
            await stack.start()
            await stack.ready()
            assert await stack.starts() == 1
            stack.process.terminate()
            assert await stack.process.wait() == 0
        finally:
            await _end(stack)


async def test_secrets_are_for_their_owner(stack: Stack) -> None:
    await stack.start()
    await stack.ready()
    files: list[Path] = sorted((stack.folder / "data" / "postgres").glob("*.password"))
    assert [file.stem for file in files] == ["features", "postgres", "recommender"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from deploy.local.__main__ import main

    helped: Callable[..., object] = main.main
    with pytest.raises(SystemExit) as ended:
        helped(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for field in StackSettings.model_fields.values():
        assert str(field.alias) in text


def test_each_process_gets_the_passwords_of_its_own_stores() -> None:
    given = {name: f"secret of {name}" for name in STORES}
    own: dict[str, set[str]] = {
        "recommender": {"RECOMMENDER_DATABASE_URL"},
        "features": {"FEATURES_DATABASE_URL", "FEATURES_REDIS_URL"},
        "features-worker": {"FEATURES_DATABASE_URL", "FEATURES_REDIS_URL"},
        "gateway": set(),
    }
    settings = StackSettings.model_validate({})
    outside, embedded = services(settings, given, {}, Path), services(settings, {"A": "b"}, given, Path)
    for made in (outside, embedded):
        secrets = {one.name: {k for k, v in one.env.items() if v.startswith("secret")} for one in made}
        assert secrets == own
    assert {one.env["A"] for one in embedded} == {"b"}


def test_several_recommenders_have_ports_of_their_own_and_are_all_asked() -> None:
    settings = StackSettings.model_validate({"WINDOWSHOP_RECOMMENDERS": 3})
    made = {one.name: one.env for one in services(settings, {}, {}, Path)}
    named = [made[name] for name in ("recommender", "recommender-2", "recommender-3")]
    assert [env["RECOMMENDER_PORT"] for env in named] == ["50052", "50053", "50054"]
    assert [env["RECOMMENDER_OPS_PORT"] for env in named] == ["9102", "9103", "9104"]
    every = "127.0.0.1:50052,127.0.0.1:50053,127.0.0.1:50054"
    assert made["gateway"]["GATEWAY_RECOMMENDER_ADDRESS"] == every
    assert made["features-worker"]["FEATURES_RECOMMENDER_ADDRESS"] == every


def test_ports_of_further_recommenders_are_nobody_elses() -> None:
    with pytest.raises(ValueError, match=r"GATEWAY_PORT and RECOMMENDER_PORT \+ 1 are both 8000"):
        StackSettings.model_validate({"WINDOWSHOP_RECOMMENDERS": 2, "RECOMMENDER_PORT": 7999})
    with pytest.raises(ValueError, match=r"RECOMMENDER_OPS_PORT \+ 1 is 65536, and no port is above"):
        StackSettings.model_validate({"WINDOWSHOP_RECOMMENDERS": 2, "RECOMMENDER_OPS_PORT": 65535})
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen(1)
        port = other.getsockname()[1]
        settings = StackSettings.model_validate({"WINDOWSHOP_RECOMMENDERS": 2, "RECOMMENDER_PORT": port - 1})
        complaint = ports.taken({"RECOMMENDER_PORT + 1": settings.all_ports()["RECOMMENDER_PORT + 1"]})
    assert list(complaint.values()) == [f"port {port} is taken; choose another one by RECOMMENDER_PORT=<port>"]
