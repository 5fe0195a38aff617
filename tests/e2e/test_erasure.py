"""A person asks to be forgotten: by the REST door and by the command, in the whole shop."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.diary import make_event
from tests.support.shop import Rest, Shop

pytestmark = pytest.mark.timeout(300)


async def test_an_erased_user_is_unknown_everywhere_until_a_new_life(shop: Shop, rest: Rest) -> None:
    earlier = datetime.now(UTC) - timedelta(minutes=1)
    view = make_event("detail-page-view", "leaving_user", "prod_100", time=earlier)
    await rest.post("/v1/events:write", {"events": [view]})
    await rest.get("/features/User/leaving_user")

    reply = await rest.send("DELETE", "/v1/users/leaving_user")

    assert reply.status == 200, reply.text
    removed = reply.json["removed"]
    assert removed.keys() == {"events", "lines", "records", "queued", "signals"}
    assert (removed["events"], removed["lines"], removed["records"]) == (1, 1, 1)
    await rest.get("/features/User/leaving_user", status=404)
    assert (await rest.post("/v1/events:write", {"events": [view]}))["erased"] == 1
    await rest.get("/features/User/leaving_user", status=404)
    again = make_event("detail-page-view", "leaving_user", "prod_700")
    assert (await rest.post("/v1/events:write", {"events": [again]}))["accepted"] == 1
    answer = await rest.get("/features/User/leaving_user?features=user_recent_views")
    assert answer["features"] == {"user_recent_views": ["prod_700"]}

    code, output = await shop.run("erase", "leaving_user", "--yes")
    assert code == 0, output
    assert "events 1" in output
    await rest.get("/features/User/leaving_user", status=404)
