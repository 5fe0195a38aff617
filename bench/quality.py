"""`python -m bench quality`: what the shop recommends, over REST, against what households then bought.

An empty shop gets the Complete Journey up to the end of November 2017 through the public API, trains, and is asked for
every household. December, which nothing of it has seen, is the truth. The simple models beside it get the same past.
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from windowshop_client.client import connect
from windowshop_client.complete_journey.data import Baskets, Choice, Journey, read_journey
from windowshop_client.complete_journey.load import load_journey

from bench.results import FOLDER, circumstances, percentile, publish
from services.recommender.domain.learned import Codes, Places
from services.recommender.domain.retrieving import ANYTHING, NEW
from services.recommender.training.evaluating.comparing import METRICS, Judged, Split, compare, split, summary
from services.recommender.training.evaluating.metrics import Shop, judge
from services.recommender.training.learning.log import PURCHASE, Log
from tests.support.shop import Rest, running_shop

TRAINED_UNTIL = date(2017, 11, 30)
WITHOUT = frozenset({"FUEL", "MISCELLANEOUS", "COUPON"})
HOUSEHOLDS = 5
SERVED = "windowshop"
OBJECTIVES = {"all": ANYTHING, "new": NEW}
CONFIGS = {"all": "recommended-for-you", "new": "discover"}
_PAGE = 10
_TRAIN_SECONDS = 1_800.0

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Truth:
    """The past and December in numbers: products by their ids' order, households by theirs."""

    task: Split
    households: list[str]
    departments: Codes

    @property
    def shop(self) -> Shop:
        products = self.task.past.products
        taken = np.bincount(products, minlength=len(self.task.past.product_ids)).astype(np.float64)
        return Shop(taken, self.departments)


@click.command()
@click.option("--output", default=FOLDER / "quality.json", show_default=True, type=click.Path(path_type=Path))
@click.option("--sample", default=0, help="Ask for so many households only; 0: all.")
def command(output: Path, sample: int) -> None:
    """Measures the quality of what is served on real data, on a shop of its own, started for it and stopped."""
    result = asyncio.run(run(sample))
    publish(result, output)
    if result["failed"]:
        raise click.ClickException(f"{result['failed']} requests failed or were degraded")


async def run(sample: int) -> dict[str, Any]:
    about = circumstances()
    say("reading December ...")
    truth = await asyncio.to_thread(read_truth)
    households = truth.households[:sample] if sample else truth.households
    say("starting an empty shop ...")
    # Trained when told to, not while the import is under way.
    os.environ["RECOMMENDER_TRAIN_EVERY"] = "0"
    async with running_shop(demo=False) as shop:
        begin = perf_counter()
        choice = Choice(until=TRAINED_UNTIL, without=WITHOUT, households=HOUSEHOLDS)
        async with connect(features=shop.features_address, recommender=shop.recommender_address) as client:
            await load_journey(client, Console(stderr=True), now=datetime.now(UTC), choice=choice)
        imported = perf_counter() - begin
        async with Rest(shop.base_url) as rest:
            model, seconds = await _train(rest)
            asked = Asked(truth)
            for protocol, config in CONFIGS.items():
                say(f"asking for {len(households):,} households: {config} ...")
                await asked.ask(rest, protocol, config, households)
    for objective, lists in asked.lists.items():
        served = judge(
            lists,
            {user: wanted for user, wanted in truth.task.wanted[objective].items() if user in lists},
            truth.task.histories,
            truth.shop,
        )
        say(f"{objective}: nDCG@10 {served.mean('ndcg'):.4f}, recall@10 {served.mean('recall'):.4f}")
    begin = perf_counter()
    judged = await asyncio.to_thread(compare, truth.task, asked.lists, SERVED, truth.departments, _learns)
    print_table(judged)
    return {
        **headline(judged),
        "train_seconds": round(seconds, 1),
        "baseline_seconds": round(perf_counter() - begin, 1),
        "p50_ms": percentile(asked.milliseconds, 50),
        "p99_ms": percentile(asked.milliseconds, 99),
        "import_seconds": round(imported, 1),
        "ask_seconds": round(sum(asked.milliseconds) / 1_000, 1),
        "failed": asked.failed,
        "requests": len(asked.milliseconds),
        "households": {protocol: len(truth.task.wanted[objective]) for protocol, objective in OBJECTIVES.items()},
        "products": len(truth.task.past.product_ids),
        "model": {"metrics": model.get("metrics", {}), "lineage": model.get("lineage", {})},
        **about,
    }


def read_truth() -> Truth:
    """December's baskets, of the products that the shop knows."""
    november = read_journey(Choice(until=TRAINED_UNTIL, without=WITHOUT, households=HOUSEHOLDS))
    everything = read_journey(Choice(without=WITHOUT))
    known = np.unique(november.baskets.product_id)
    ids = sorted(str(number) for number in known.tolist())
    households = sorted({str(number) for number in everything.baskets.household_id.tolist()})
    whole = _log(everything.baskets, ids, households)
    end = november.baskets.seconds[-1] + 1.0
    task = split(whole, end, float(whole.times[-1]) + 1.0, PURCHASE)
    return Truth(task, households, _departments(november, ids))


def _log(baskets: Baskets, ids: list[str], households: list[str]) -> Log:
    places, owners = {id_: place for place, id_ in enumerate(ids)}, {id_: row for row, id_ in enumerate(households)}
    lines = np.diff(baskets.start)
    products = np.array([places.get(str(number), -1) for number in baskets.product_id.tolist()])
    users = np.repeat([owners[str(number)] for number in baskets.household_id.tolist()], lines)
    kept = products >= 0
    return Log(
        product_ids=ids,
        user_count=len(households),
        users=users[kept].astype(np.int32),
        products=products[kept].astype(np.int32),
        types=np.full(int(kept.sum()), PURCHASE, dtype=np.int8),
        times=np.repeat(baskets.seconds, lines)[kept].astype(np.float64),
        events=np.repeat(np.arange(len(lines)), lines)[kept].astype(np.int64),
    )


def _departments(journey: Journey, ids: list[str]) -> Codes:
    names = dict(zip(journey.products["product_id"].astype(str), journey.products["department"], strict=True))
    numbers = {name: number for number, name in enumerate(sorted(set(names.values())), start=1)}
    return np.array([numbers.get(names.get(id_, ""), 0) for id_ in ids], dtype=np.int32)


async def _train(rest: Rest) -> tuple[dict[str, Any], float]:
    begin = perf_counter()
    model = await rest.post("/v1/models:train", {})
    say(f"training {model['id']} ...")
    while model["state"] == "TRAINING":
        if perf_counter() > begin + _TRAIN_SECONDS:
            raise click.ClickException("the training does not end")
        await asyncio.sleep(1)
        model = await rest.get(f"/v1/models/{model['id']}")
    if model["state"] != "ACTIVE":
        raise click.ClickException(f"the model is {model['state']}: {model.get('reason')}")
    return model, perf_counter() - begin


def _learns(name: str) -> None:
    say(f"beside it: {name} ...")


class Asked:
    """What the shop answered, one request after the other."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._places = {id_: place for place, id_ in enumerate(truth.task.past.product_ids)}
        self.lists: dict[str, dict[int, Places]] = {}
        self.milliseconds: list[float] = []
        self.failed = 0

    async def ask(self, rest: Rest, protocol: str, config: str, households: list[str]) -> None:
        lists = self.lists.setdefault(OBJECTIVES[protocol], {})
        rows = {id_: row for row, id_ in enumerate(self._truth.households)}
        for household in households:
            begin = perf_counter()
            path = f"/v1/users/{household}/recommendations?servingConfig={config}&pageSize={_PAGE}"
            reply = await rest.send("GET", path)
            self.milliseconds.append((perf_counter() - begin) * 1_000)
            if reply.status != 200 or reply.json.get("degraded"):
                self.failed += 1
            found = [self._places[one["id"]] for one in reply.json.get("results", []) if one["id"] in self._places]
            lists[rows[household]] = np.array(found, dtype=np.int64)


def headline(judged: Judged) -> dict[str, Any]:
    """The flat numbers of the last line."""
    result: dict[str, Any] = {}
    found = summary(judged, SERVED)
    for protocol, objective in OBJECTIVES.items():
        for metric in ("ndcg", "recall"):
            result[f"{metric}_{protocol}"] = round(found[objective][SERVED][metric], 4)
    result["baselines"] = {
        protocol: {
            name: {
                "ndcg": round(values["ndcg"], 4),
                "recall": round(values["recall"], 4),
                "ndcg_beaten_by": values["better_by"]["ndcg"],
            }
            for name, values in found[objective].items()
            if name != SERVED
        }
        for protocol, objective in OBJECTIVES.items()
    }
    return result


def print_table(judged: Judged) -> None:
    for objective, found in judged.items():
        table = Table(title=f"{objective}: {len(found[SERVED].shoppers):,} households of December")
        for heading in ("", *METRICS):
            table.add_column(heading, justify="right" if heading else "left")
        for name, one in found.items():
            table.add_row(name, *(f"{one.mean(metric):.4f}" for metric in METRICS))
        say(table)
