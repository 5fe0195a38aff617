"""Waits until the feature service has heard of the catalogue, which it copies off the request path."""

import asyncio
import time

import grpc

from windowshop_client.client import Client
from windowshop_client.errors import WindowshopError

POLL_SECONDS = 0.1
ARRIVAL_SECONDS = 30.0
"""The copy takes seconds for 90,000 products. Without its worker it does not come at all: nothing is lost by
going on, only that events are counted as naming unknown products."""


async def product_arrived(client: Client, product_id: str, *, timeout: float = ARRIVAL_SECONDS) -> bool:
    """Whether the feature service knows the product, waiting up to `timeout` seconds for it.

    Changes arrive in the order in which they were made, so the last product of an import stands for all.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            await client.get_features("Product", product_id)
        except WindowshopError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
        else:
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
