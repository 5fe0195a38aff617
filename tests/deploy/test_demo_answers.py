"""When the demo shop is loaded, and which answers of the documented URLs let the ready line out."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from deploy.local import demo
from deploy.local.demo import is_real
from deploy.local.probes import Answer
from deploy.local.report import Report
from deploy.local.settings import StackSettings


def features(*statuses: str, degraded: tuple[str, ...] = ()) -> dict[str, object]:
    metadata = {f"feature_{number}": {"status": status} for number, status in enumerate(statuses)}
    return {"features": dict.fromkeys(metadata, 1), "metadata": metadata, "degraded": list(degraded)}


@pytest.mark.parametrize("statuses", [("PRESENT", "PRESENT"), ("STALE", "PRESENT")])
def test_values_from_evidence_are_real(statuses: tuple[str, ...]) -> None:
    assert is_real(Answer(200, features(*statuses)), fresh=True)
    assert is_real(Answer(200, features(*statuses)), fresh=False)


@pytest.mark.parametrize("statuses", [("NULL", "PRESENT"), ("NULL", "DEFAULT")])
def test_no_evidence_is_the_truth_in_an_old_shop_but_not_right_after_a_load(statuses: tuple[str, ...]) -> None:
    assert is_real(Answer(200, features(*statuses)), fresh=False)
    assert not is_real(Answer(200, features(*statuses)), fresh=True)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(0),
        Answer(503, features("PRESENT")),
        Answer(200, "a page"),
        Answer(200, {}),
        Answer(200, features("PRESENT", "UNAVAILABLE")),
        Answer(200, features("PRESENT", degraded=("online-store",))),
    ],
)
def test_anything_else_is_not(answer: Answer, fresh: bool) -> None:
    assert not is_real(answer, fresh=fresh)


def test_an_unknown_product_is_the_truth_when_its_owner_has_deleted_it() -> None:
    unknown = Answer(404, {"reason": "ENTITY_NOT_FOUND"})
    assert is_real(unknown, fresh=False)
    assert not is_real(unknown, fresh=True)


@dataclass
class Shop:
    """A gateway's answers to what a start asks, and how often the shop was loaded."""

    settings: StackSettings
    data: Path
    answers: dict[str, object] = field(default_factory=dict)
    loads: int = 0

    def fill(self, *, product: bool = True, status: str = "PRESENT", model: str = "ACTIVE") -> None:
        """As after a load."""
        self.answers = {"/features/User/user_001": features(status), "/v1/models": {"models": [{"state": model}]}}
        if product:
            self.answers |= {"/features/Product/prod_100": features(status), "/v1/products/prod_100": {}}

    async def start(self) -> None:
        async def load(_: StackSettings) -> None:
            self.loads += 1
            self.fill()

        await demo.ensure(self.settings, self.data, Report(), load)

    async def answer(self, request: web.Request) -> web.Response:
        body = self.answers.get(request.path)
        return web.json_response(body, status=404 if body is None else 200)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Empty, behind a real port."""
    application = web.Application()
    runner = web.AppRunner(application)
    made = Shop(StackSettings.model_validate({}), tmp_path)
    application.router.add_get("/{path:.*}", made.answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.settings = made.settings.model_copy(update={"gateway_port": runner.addresses[0][1]})
    yield made
    await runner.cleanup()


async def test_an_empty_shop_is_loaded_once(shop: Shop) -> None:
    await shop.start()
    await shop.start()
    assert shop.loads == 1


async def test_a_load_that_was_cut_before_its_model_is_ended_though_its_events_are_old(shop: Shop) -> None:
    shop.fill(status="NULL", model="TRAINING")

    async def load(_: StackSettings) -> None:
        shop.loads += 1
        shop.fill(status="NULL")

    await demo.ensure(shop.settings, shop.data, Report(), load)
    assert shop.loads == 1


async def test_a_product_that_its_owner_deleted_stays_deleted(shop: Shop) -> None:
    shop.fill(product=False)
    await shop.start()
    assert shop.loads == 0


async def test_a_model_that_cannot_be_trained_any_more_is_no_reason_to_load_again(shop: Shop) -> None:
    await shop.start()
    shop.fill(status="NULL", model="FAILED")
    await shop.start()
    assert shop.loads == 1


async def test_a_wiped_shop_is_loaded_again(shop: Shop) -> None:
    await shop.start()
    shop.answers = {}
    await shop.start()
    assert shop.loads == 2
