"""The demo shop: whether it is there, and loading it by the `windowshop` command."""

import asyncio
import sys
from typing import Any

from deploy.local import probes
from deploy.local.child import Child, StartError
from deploy.local.probes import Answer
from deploy.local.report import ending
from deploy.local.settings import StackSettings

# The two URLs that the documentation shows.
DOCUMENTED = (
    "/features/User/user_001?features=user_browsing_category,user_purchase_count_30d",
    "/features/Product/prod_100?features=product_popularity_score,product_rating",
)
# After a load only the worker's first round is missing; a slow machine computes it in seconds.
_ANSWER_TIMEOUT = 60.0


async def loaded(settings: StackSettings) -> bool:
    """Whether the shop is complete: the load's first product, its last user, and the model that ends it."""
    base = f"http://127.0.0.1:{settings.gateway_port}"
    for path in ("/v1/products/prod_100", DOCUMENTED[0]):
        if (await _settled(base + path)).status != 200:
            return False
    models = await _settled(f"{base}/v1/models")
    return models.status == 200 and any(m.get("state") == "ACTIVE" for m in models.body.get("models", []))


async def _settled(url: str) -> Answer:
    """The first answer that is about the shop: the gateway is ready some moments before its connections are."""
    deadline = asyncio.get_running_loop().time() + _ANSWER_TIMEOUT
    while True:
        answer = await probes.get(url)
        if answer.status in (200, 404) or asyncio.get_running_loop().time() > deadline:
            return answer
        await asyncio.sleep(0.1)


async def load(settings: StackSettings) -> None:
    """Run `windowshop demo load` on our terminal. Raises StartError when it fails."""
    command = [
        sys.executable, "-m", "windowshop_client.cli", "demo", "load",
        "--features", f"127.0.0.1:{settings.features_port}",
        "--recommender", f"127.0.0.1:{settings.recommender_port}",
    ]  # fmt: skip
    child = await Child.start(command, log=None)
    try:
        code = await child.wait()
    finally:
        await child.stop(grace=2.0)
    if code:
        raise StartError(f"loading the demo shop {ending(code)}")


async def answers(settings: StackSettings, *, fresh: bool) -> None:
    """Return when the documented URLs answer from real data. Raises StartError with the last answer otherwise."""
    deadline = asyncio.get_running_loop().time() + _ANSWER_TIMEOUT
    for path in DOCUMENTED:
        url = f"http://127.0.0.1:{settings.gateway_port}{path}"
        while not is_real(answer := await probes.get(url), fresh=fresh):
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(
                    f"{path} has no real values after {_ANSWER_TIMEOUT:g} s: {answer.status} {answer.body}"
                )
            await asyncio.sleep(0.2)


def is_real(answer: Answer, *, fresh: bool) -> bool:
    """Whether the features of an answer were computed from data: nothing degraded, every status a true one.

    Right after a load (`fresh`) every value has evidence, so one without is the worker still at work. A month
    later the windows are empty, and saying so is the truth.
    """
    if answer.status != 200 or not isinstance(answer.body, dict) or answer.body.get("degraded"):
        return False
    metadata: dict[str, Any] = answer.body.get("metadata", {})
    known = {"PRESENT", "STALE"} if fresh else {"PRESENT", "STALE", "DEFAULT", "NULL"}
    return bool(metadata) and all(feature.get("status") in known for feature in metadata.values())
