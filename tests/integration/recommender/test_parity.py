"""What a ranker reads is the same in training, from the log's rows, and in serving, from the features of the moment."""

from __future__ import annotations

import time

import numpy as np

from services.recommender.clients import FeatureClient
from services.recommender.domain.moments import Moment
from services.recommender.domain.personal import personal
from services.recommender.domain.ranker_features import FEATURES, assemble
from services.recommender.domain.retrieving import OBJECTIVES, retrieve
from services.recommender.training.interactions import Interactions, Kind
from services.recommender.training.learning.log import DAY
from services.recommender.training.learning.states import States
from services.recommender.training.learning.version import learn
from services.runtime.client import channel
from tests.support.features import event, running_server
from tests.support.stack import PostgresServer, ValkeyServer

PRODUCTS = [f"p{number:02d}" for number in range(30)]
USERS = [f"u{number}" for number in range(12)]


def history() -> list[object]:
    """A year of orders, and a month of views and carts; some twice within an order, some at one instant."""
    random = np.random.default_rng(5)
    events: list[object] = []
    for number in range(60):
        # Who has the app takes other products from it.
        app = number % 2
        chosen = PRODUCTS[app::2][number % 15]
        device, ago = ("app" if app else "web"), float(random.uniform(60, 300 * DAY))
        events.append(event("detail-page-view", USERS[number % 12], chosen, ago=ago, device=device))
        events.append(event("rate", USERS[number % 12], chosen, ago=ago, rating=float(number % 5 + 1)))
    for user in USERS:
        for _ in range(int(random.integers(1, 12))):
            chosen = random.choice(PRODUCTS, int(random.integers(1, 6)), replace=False).tolist()
            lines = [*chosen, chosen[0]] if random.random() < 0.3 else chosen
            events.append(
                event("purchase-complete", user, *lines, ago=float(random.uniform(60, 380 * DAY)), revenue=9.0)
            )
        for kind in ("detail-page-view", "add-to-cart"):
            for _ in range(int(random.integers(0, 30))):
                events.append(event(kind, user, str(random.choice(PRODUCTS)), ago=float(random.uniform(60, 40 * DAY))))
    return events


async def test_training_and_serving_read_the_same(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        for one in history():
            await server.write(one)  # type: ignore[arg-type]  # an event
        async with channel(f"127.0.0.1:{server.settings.port}") as connection:
            client = FeatureClient(connection)
            interactions = Interactions()
            async for chunk in client.interactions():
                interactions.add(chunk)
            log, catalogue = interactions.arrays(
                {id_: Kind(f"D{n % 2} > C{n % 4}", f"B{n % 3}", 1.0 + n) for n, id_ in enumerate(PRODUCTS)}
            )
            users = list(interactions.user_ids)
            version = learn(log, time.time(), catalogue)
            for name in users:
                signals = (await client.user(name, timeout=10)).signals
                # The decayed sum is as of the reading.
                now = time.time()
                moment = Moment.at(now, "app")
                served = personal(version, signals.state(now), moment)
                trained = personal(version, States(log, now).of(users.index(name)), moment)
                for objective in OBJECTIVES:
                    np.testing.assert_array_equal(retrieve(served, objective)[0], retrieve(trained, objective)[0])
                everything = np.arange(-1, len(version))
                one, other = assemble(served, everything), assemble(trained, everything)
                assert one.shape[1] == len(FEATURES)
                # The seconds between reading and learning are all the difference.
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
                assert np.abs(one).sum() > 0
                assert one[:, FEATURES.index("rating")].any()
                assert one[:, FEATURES.index("device_lift")].any()
