"""Trains a model and waits for it."""

import asyncio
import time
from collections.abc import Callable

import grpc
from windowshop.recommender.v1 import model_pb2 as m

from windowshop_client.client import RECOMMENDER, Client
from windowshop_client.errors import WindowshopError

POLL_SECONDS = 0.3
TRAIN_SECONDS = 900.0
"""The Complete Journey, the largest data that ships with the project, trains within a few minutes."""


async def train(
    client: Client, *, report: Callable[[float], None] | None = None, timeout: float = TRAIN_SECONDS
) -> m.Model:
    """Starts a training run, or joins the one under way, and returns the model when it is done.

    `report` is told the progress, 0 to 1. Raises WindowshopError when the run fails or takes too long.
    """
    model = await _start(client)
    deadline = time.monotonic() + timeout
    while model.state == m.TRAINING:
        if report is not None:
            report(model.progress)
        if time.monotonic() > deadline:
            message = f"model {model.id} is still training after {timeout:g} s"
            raise WindowshopError(grpc.StatusCode.DEADLINE_EXCEEDED, message, service=RECOMMENDER)
        await asyncio.sleep(POLL_SECONDS)
        model = await client.get_model(model.id)
    if model.state == m.FAILED:
        message = f"training model {model.id} failed: {model.reason or 'no reason given'}"
        raise WindowshopError(grpc.StatusCode.INTERNAL, message, service=RECOMMENDER)
    if report is not None:
        report(1.0)
    return model


async def _start(client: Client) -> m.Model:
    try:
        return await client.train_model()
    except WindowshopError as error:
        if error.code is not grpc.StatusCode.ABORTED:
            raise
        running = [model for model in await client.list_models() if model.state == m.TRAINING]
        if not running:  # it ended between the two calls
            return await client.train_model()
        return running[0]
