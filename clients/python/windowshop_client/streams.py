"""Client streams that stall visibly: the deadline is on each chunk, not on the whole upload."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

import grpc
from grpc import aio

from windowshop_client.errors import WindowshopError

Chunk = TypeVar("Chunk")
Summary = TypeVar("Summary")

STALL_SECONDS = 120.0
"""The longest a server may take over one chunk. A thousand events take it a fraction of a second; the
rest is for a disk that is busy with something else."""


async def upload(
    call: aio.StreamUnaryCall[Chunk, Summary],
    chunks: Iterable[Chunk],
    *,
    sent: Callable[[Chunk], None] | None = None,
    stall: float = STALL_SECONDS,
) -> Summary:
    """Writes all chunks and returns the summary; `sent` is told of each chunk that left.

    Raises grpc.aio.AioRpcError as the server ended the call, WindowshopError DEADLINE_EXCEEDED when
    the server took longer than `stall` seconds over a chunk. An interrupted upload is cancelled, so
    the server never takes half a catalogue for a whole one.
    """
    try:
        for chunk in chunks:
            try:
                async with asyncio.timeout(stall):
                    await call.write(chunk)
            except (aio.AioRpcError, asyncio.InvalidStateError):
                break  # the server ended the call: its status comes with the answer below
            if sent is not None:
                sent(chunk)
        else:
            await call.done_writing()
        async with asyncio.timeout(stall):
            return await call
    except TimeoutError as error:
        message = f"the server did not take a chunk within {stall:g} s"
        raise WindowshopError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from error
    finally:
        call.cancel()  # does nothing to a call that is done
