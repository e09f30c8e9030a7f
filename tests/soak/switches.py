"""Somebody who wants something else served, now and then: what has passed, by every way to say so, and what has not."""

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.e2e.shop import KIND, NAME
from tests.e2e.test_deployment import TRACK
from tests.following import has_all_requests
from tests.integration.support.eventually import eventually
from tests.kube import Kube
from tests.soak.ground import Ground
from tests.soak.served import BAD, GOOD, SERVED
from tests.soak.stream import patiently

Object = dict[str, Any]

# How long something is waited for that may be served, and for how long it then is, or the other is not.
SETTLES_SECONDS = 60.0
PAUSES = (5.0, 20.0)
CANARY = {"canary": {"steps": [{"weight": 50, "hold": "5s", "minRequests": 3}]}}
REFUSED = "what has failed"
WAYS = ("latest", "run", "release", REFUSED)
# What is wanted in the end, when nothing goes wrong any more.
LAST = GOOD[0]


class Switches:
    """Changes the deployment until it is told to stop; what was wanted is counted by how that was said."""

    def __init__(self, ground: Ground, chance: random.Random) -> None:
        self.wanted: Counter[str] = Counter()
        self.error = ""  # why it ended before it was told to
        self._kube = ground.kube(SERVED)
        self._wants = wants(ground.served.releases, chance)
        self._chance = chance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> "Switches":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._want({"run": LAST}, None)

    def _go_on(self) -> None:
        try:
            while not self._stop.is_set():
                self._next()
        except Exception as error:  # whatever it is: a soak in which nothing is switched would say too much
            self.error = f"nothing else is wanted in {SERVED}: {error}"

    def _next(self) -> None:
        run, model = next(self._wants)
        self._want(model, self._chance.choice([None, CANARY]))
        self.wanted[REFUSED if run == BAD else next(iter(model))] += 1
        if run != BAD:
            self._settles(run)
        self._stop.wait(self._chance.uniform(*PAUSES))

    def _want(self, model: Object, rollout: Object | None) -> None:
        other = dict.fromkeys(("latest", "run", "release"))
        patch = {"spec": {"model": other | model, "rollout": rollout}}
        patiently(lambda: self._kube.patch(KIND, NAME, patch))

    def _settles(self, run: str) -> None:
        """Wait until a run is served, but not for ever: a fault may be in the way."""

        def look() -> bool:
            return self._stop.is_set() or serves(self._kube, run)

        try:
            eventually(look, SETTLES_SECONDS, every=0.5)
        except AssertionError:
            return


def wants(releases: Mapping[str, str], chance: random.Random) -> Iterator[tuple[str, Object]]:
    """Yield runs with the ways in which each is wanted: everything comes up before anything comes up again."""
    each: list[tuple[str, Object]] = [(GOOD[-1], {"latest": {"selector": {"matchLabels": TRACK}}})]
    for run, release in releases.items():
        each += [(run, {"run": run}), (run, {"release": release})]
    while True:
        yield from chance.sample(each, len(each))


def serves(kube: Kube, run: str) -> bool:
    """Whether a run has all requests, as soon as the API server tells."""
    return patiently(lambda: has_all_requests(kube.get(KIND, NAME), run))
