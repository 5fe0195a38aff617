"""A Valkey that loads its keys is alive: it is waited for, and one that says nothing is not."""

import sys
import time
from pathlib import Path

import pytest

from deploy.local.child import StartError
from deploy.local.valkey import Valkey
from tests.support.stack import free_port

# Takes --port as its first option, as `Valkey` gives it.
STANDIN = """#!{python}
import socketserver, sys, time
asked = []
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        asked.append(time.monotonic())
        loaded = asked[-1] - asked[0] > 2.1
        self.wfile.write(b"+PONG\\r\\n" if loaded else {meanwhile!r})
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


def standin(folder: Path, meanwhile: bytes) -> Valkey:
    binary = folder / "valkey-server"
    binary.write_text(STANDIN.format(python=sys.executable, meanwhile=meanwhile))
    binary.chmod(0o755)
    return Valkey(folder / "valkey", free_port(), log=folder / "log", binary=str(binary))


async def test_one_that_loads_is_waited_for(tmp_path: Path) -> None:
    server = standin(tmp_path, b"-LOADING Valkey is loading the dataset in memory\r\n")
    began = time.monotonic()
    try:
        await server.start(timeout=2.0)  # time for an interpreter to start, on a busy machine too
        assert time.monotonic() - began > 2.1
        assert await server.ready()
    finally:
        await server.stop(grace=1.0)


async def test_one_that_says_nothing_of_the_kind_is_not(tmp_path: Path) -> None:
    server = standin(tmp_path, b"-ERR what do you want\r\n")
    with pytest.raises(StartError):
        await server.start(timeout=0.3)
