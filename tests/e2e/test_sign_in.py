"""A guest browses, signs in, and is known from then on: by the REST door and by the command, in the whole shop."""

from typing import Any

import pytest

from tests.e2e.diary import make_event
from tests.support.shop import Rest, Shop

pytestmark = pytest.mark.timeout(300)

STATE = (
    "user_recent_views,user_recent_orders,user_purchase_history,user_category_affinity,user_brand_affinity,"
    "user_session_start,user_session_products"
)


def by_guest(kind: str, *products: str) -> dict[str, object]:
    event = make_event(kind, "", *products)
    del event["userId"]
    return event | {"visitorId": "e2e-guest"}


async def test_what_a_guest_did_is_the_users(shop: Shop, rest: Rest) -> None:
    events = [
        by_guest("detail-page-view", "prod_100"),
        by_guest("add-to-cart", "prod_101"),
        by_guest("purchase-complete", "prod_101"),
    ]
    await rest.post("/v1/events:write", {"events": events})
    before = await rest.get(f"/features/Visitor/e2e-guest?features={STATE}")
    expect_state(before["features"])
    await rest.get("/features/User/e2e-signed-in", status=404)

    answer = await rest.post("/v1/visitors/e2e-guest:merge", {"userId": "e2e-signed-in"})

    assert answer == {"events": 3, "lines": 3, "erased": 0}
    after = await rest.get(f"/features/User/e2e-signed-in?features={STATE}")
    expect_state(after["features"])
    assert after["features"]["user_session_start"] == before["features"]["user_session_start"]
    await rest.get("/features/Visitor/e2e-guest", status=404)
    batch = await rest.post(
        "/v1/features/User:batchGet", {"ids": ["e2e-signed-in", "nobody"], "features": ["user_purchase_history"]}
    )
    column = batch["columns"]["user_purchase_history"]
    assert column["type"] == "TABLE"
    assert list(column["values"][0]) == ["prod_101"]
    assert column["values"][1] is None

    await rest.post("/v1/events:write", {"events": [by_guest("detail-page-view", "prod_700")]})
    code, output = await shop.run("merge", "e2e-guest", "e2e-signed-in")
    assert (code, output.strip()) == (0, "visitor e2e-guest is e2e-signed-in: 1 events, 1 lines")
    code, output = await shop.run("features", "get", "User", "e2e-signed-in", "--features", STATE)
    assert code == 0, output
    assert "prod_101: orders 1" in output


def expect_state(features: dict[str, Any]) -> None:
    assert features["user_recent_views"] == ["prod_100"]
    assert features["user_recent_orders"] == ["prod_101"]
    assert features["user_session_products"] == ["prod_101", "prod_100"]
    (bought,) = features["user_purchase_history"].items()
    assert (bought[0], bought[1]["orders"], list(bought[1])) == (
        "prod_101", 1, ["orders", "first_time", "last_time", "decayed"],
    )  # fmt: skip
    for name in ("user_category_affinity", "user_brand_affinity"):
        shares = [row["share"] for row in features[name].values()]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
