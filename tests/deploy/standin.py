"""The local stack with its real stores and tiny services in the place of ours; run as `python -m tests.deploy.standin`.

STANDIN_MODE: `plain`, `stubborn` (the features service ignores SIGTERM), `broken` (the gateway ends at once).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg

from deploy.local import app, probes
from deploy.local.report import Report
from deploy.local.service import Service
from deploy.local.settings import StackSettings
from services.runtime.settings import load


def services(
    settings: StackSettings, environment: Mapping[str, str], urls: Mapping[str, str], log: Callable[[str], Path]
) -> list[Service]:
    """Two services: one that counts its starts in its database, one without a store."""

    def part(name: str, port: int) -> Service:
        def ready() -> Awaitable[bool]:
            return probes.ready(port)

        return Service(name, [sys.executable, __file__, name, str(port)], {**environment, **urls}, log(name), ready)

    return [part("features", settings.features_port), part("gateway", settings.gateway_port)]


def serve(name: str, port: int) -> None:
    """One tiny service: any path answers with the number of starts."""
    mode = os.environ["STANDIN_MODE"]
    if mode == "broken" and name == "gateway":
        sys.exit("the gateway has no legs to stand on")
    if mode == "stubborn" and name == "features":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    starts = asyncio.run(_count_starts()) if name == "features" else 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            body = str(starts).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


async def _count_starts() -> int:
    connection = await asyncpg.connect(os.environ["FEATURES_DATABASE_URL"])
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        await connection.execute("INSERT INTO starts DEFAULT VALUES")
        number: int = await connection.fetchval("SELECT count(*) FROM starts")
        return number
    finally:
        await connection.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(asyncio.run(app.run(load(StackSettings), Report(), services)))
