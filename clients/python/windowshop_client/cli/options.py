"""Where the services are, and how a command calls them."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import grpc

from windowshop_client.client import FEATURES, RECOMMENDER, Client, connect
from windowshop_client.errors import WindowshopError

T = TypeVar("T")
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Addresses:
    """host:port of both services."""

    features: str
    recommender: str

    def call(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Runs `work` with a client; what goes wrong ends the command with one clear line."""
        try:
            return asyncio.run(self._connected(work))
        except WindowshopError as error:
            raise click.ClickException(self._explain(error)) from error

    async def _connected(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        async with connect(features=self.features, recommender=self.recommender) as client:
            return await work(client)

    def _explain(self, error: WindowshopError) -> str:
        address, option = {
            FEATURES: (self.features, "--features-address"),
            RECOMMENDER: (self.recommender, "--recommender-address"),
        }.get(error.service, ("", ""))
        if error.code is grpc.StatusCode.UNAVAILABLE and not error.reason:
            return f"no {error.service} answers at {address}; is it running? ({option} names another place)"
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED and not error.reason:
            return f"the {error.service} at {address} did not answer in time: {error.message}"
        fields = "".join(f"; {violation.field}: {violation.message}" for violation in error.violations)
        return f"{error.message}{fields} [{error.reason or error.code.name}]"


def addressed(command: Command) -> Command:
    """Gives a command the options that say where the services are, as its first argument `addresses`."""
    return _addressed(command, brief=False)


def addressed_briefly(command: Command) -> Command:
    """`addressed` with --features and --recommender as second names, where they mean nothing else."""
    return _addressed(command, brief=True)


def now_option(command: Command) -> Command:
    """Gives a command the option `now`, an aware instant."""
    return click.option(
        "--now",
        type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"]),
        callback=_aware,
        help="When the newest events happened [default: now].",
    )(command)


def _aware(_context: click.Context, _option: click.Parameter, given: datetime | None) -> datetime:
    return datetime.now(UTC) if given is None else given.replace(tzinfo=given.tzinfo or UTC)


def _addressed(command: Command, *, brief: bool) -> Command:
    def run(features_address: str, recommender_address: str, **arguments: object) -> object:
        return command(Addresses(features_address, recommender_address), **arguments)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    # Options that were put on the command before this one move on to what replaces it.
    vars(run)["__click_params__"] = getattr(command, "__click_params__", [])
    recommender = _address("recommender", "RECOMMENDER", 50052, brief=brief)
    return _address("features", "FEATURES", 50051, brief=brief)(recommender(run))


def _address(name: str, prefix: str, port: int, *, brief: bool) -> Callable[[Command], Command]:
    who = {"features": FEATURES, "recommender": RECOMMENDER}[name]
    return click.option(
        f"{name}_address",
        *([f"--{name}"] if brief else []),
        f"--{name}-address",
        envvar=f"WINDOWSHOP_{prefix}_ADDRESS",
        default=lambda: f"localhost:{os.environ.get(f'{prefix}_PORT') or port}",
        metavar="HOST:PORT",
        help=f"Where the {who} is [env WINDOWSHOP_{prefix}_ADDRESS; default localhost:{port}].",
    )
