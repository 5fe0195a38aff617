"""The demo shop: whether it is there, and loading it by the `windowshop` command."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from deploy.local import folder, probes
from deploy.local.child import Child, StartError
from deploy.local.probes import Answer
from deploy.local.report import Report, ending
from deploy.local.settings import StackSettings

# The two URLs that the documentation shows.
DOCUMENTED = (
    "/features/User/user_001?features=user_browsing_category,user_purchase_count_30d",
    "/features/Product/prod_100?features=product_popularity_score,product_rating",
)
# After a load only the worker's first round is missing; a slow machine computes it in seconds.
_ANSWER_TIMEOUT = 60.0


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


async def ensure(
    settings: StackSettings,
    data: Path,
    report: Report,
    loading: Callable[[StackSettings], Awaitable[None]] = load,
) -> None:
    """Load the shop unless that was done before, return when the documented URLs answer.

    The folder `data` remembers that it was done: what the owner deleted since then stays deleted, and a model that
    cannot be trained any more is no reason to begin anew. Raises StartError.
    """
    # The load ends with this user's events, and events cannot be deleted.
    known = (await _answer(settings, DOCUMENTED[0])).status == 200
    if not known or not (folder.remembers(data, "demo") or await _trained(settings)):
        report.say("loading the demo shop (once)")
        await loading(settings)
    folder.remember(data, "demo")
    with report.step("first answers"):
        await answers(settings, fresh=not known)


async def _trained(settings: StackSettings) -> bool:
    """Whether there is the model that ends a load."""
    models = await _answer(settings, "/v1/models")
    return models.status == 200 and any(m.get("state") == "ACTIVE" for m in models.body.get("models", []))


async def _answer(settings: StackSettings, path: str) -> Answer:
    return await probes.get(f"http://127.0.0.1:{settings.gateway_port}{path}")


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
    later the windows are empty, or the owner has deleted the product, and saying so is the truth.
    """
    if answer.status == 404 and not fresh:
        return True
    if answer.status != 200 or not isinstance(answer.body, dict) or answer.body.get("degraded"):
        return False
    metadata: dict[str, Any] = answer.body.get("metadata", {})
    known = {"PRESENT", "STALE"} if fresh else {"PRESENT", "STALE", "DEFAULT", "NULL"}
    return bool(metadata) and all(feature.get("status") in known for feature in metadata.values())
