"""A stream of runs: some train for real, many are simulated."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from urllib3.exceptions import HTTPError

from stagecoach.policies.attempts import AttemptOutcome
from tests import builders, simulation
from tests.e2e.conftest import SMALL
from tests.kube import Kube, KubeError
from tests.soak.ground import MAX_DURATION, REAL, RETRIES, SIMULATED, Ground

Object = dict[str, Any]
T = TypeVar("T")

# Runs that are at work, at most, and how often one may be added.
REAL_AT_ONCE, SIMULATED_AT_ONCE = 3, 30
EVERY = 1.0
# Of ten real runs, so many have the inputs of an earlier one.
TWINS = 2
# One of so many runs asks to be judged: an evaluation takes as long as a small training.
REAL_CANDIDATES, SIMULATED_CANDIDATES = 4, 3
STEPS, CHECKPOINT_EVERY = 120, 10
# Longer than the API server is ever away.
PATIENCE = 300.0


class Stream:
    """Makes runs of one sort until it is told to stop."""

    def __init__(self, ground: Ground, namespace: str, at_once: int, make: Callable[[int], Object]) -> None:
        self.made: set[tuple[str, str]] = set()
        self.error = ""  # why it ended before it was told to
        self._kube = ground.kube(namespace)
        self._at_once = at_once
        self._make = make
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go_on(self) -> None:
        try:
            while not self._stop.wait(EVERY):
                self._add()
        except Exception as error:  # whatever it is: a soak without runs would say too much
            self.error = f"no more runs in {self._kube.namespace}: {error}"

    def _add(self) -> None:
        if len(at_work(runs(self._kube))) < self._at_once:
            run = self._make(len(self.made))
            create(self._kube, run)
            self.made.add((self._kube.namespace, run["metadata"]["name"]))


def real(chance: random.Random) -> Callable[[int], Object]:
    """Return the maker of real runs: some are the twins of earlier ones."""
    seeds: list[int] = []

    def make(number: int) -> Object:
        twin = seeds and chance.randrange(10) < TWINS
        seeds.append(chance.choice(seeds) if twin else number)
        return builders.run(
            f"run-{number}",
            REAL,
            purpose=_purpose(number, REAL_CANDIDATES),
            resources=SMALL,
            retries=RETRIES,
            maxDuration=MAX_DURATION,
            checkpoints={"everySteps": CHECKPOINT_EVERY},
            hyperparameters={"maxSteps": STEPS, "seed": seeds[-1]},
        )

    return make


def simulated(number: int) -> Object:
    """Return a simulated run, each with inputs of its own."""
    run = builders.run(
        f"run-{number}",
        SIMULATED,
        purpose=_purpose(number, SIMULATED_CANDIDATES),
        hyperparameters={"epochs": 1, "seed": number},
        maxDuration=MAX_DURATION,
    )
    run["metadata"]["labels"] = simulation.MARK
    return run


def _purpose(number: int, every: int) -> str:
    return "Experiment" if number % every else "Candidate"


def unfinished(runs: list[Object]) -> list[Object]:
    """Return those that have not ended."""
    return [run for run in runs if run.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


def at_work(runs: list[Object]) -> list[Object]:
    """Return those that have not ended, but for those that wait for minutes because the storage is away."""
    return [run for run in unfinished(runs) if _last_outcome(run) != AttemptOutcome.SERVICE_AWAY]


def _last_outcome(run: Object) -> str | None:
    attempts = run.get("status", {}).get("attempts") or [{}]
    outcome: str | None = attempts[-1].get("outcome")
    return outcome


def runs(kube: Kube) -> list[Object]:
    """Return the runs of the client's namespace, once the API server tells."""
    return patiently(lambda: kube.select("FineTuneRun"))


def unjudged(kube: Kube) -> list[Object]:
    """Return the Evaluations without a verdict, and the gates that are not done with their candidates."""
    evaluations, gates = (patiently(lambda kind=kind: kube.select(kind)) for kind in ("Evaluation", "EvalGate"))  # type: ignore[misc]
    return [
        *(each for each in evaluations if each.get("status", {}).get("phase") != "Decided"),
        *(each for each in gates if each.get("status", {}).get("phase") != "Idle"),
    ]


def create(kube: Kube, obj: Object) -> None:
    """Create an object, once the API server takes it; one that a broken request has created is there."""

    def once() -> None:
        try:
            kube.create(obj)
        except KubeError as error:
            if error.code != 409:
                raise

    patiently(once)


def delete(kube: Kube, kind: str, name: str) -> None:
    """Delete an object, once the API server takes it; one that a broken request has deleted is gone."""

    def once() -> None:
        try:
            kube.delete(kind, name)
        except KubeError as error:
            if error.code != 404:
                raise

    patiently(once)


def patiently(ask: Callable[[], T]) -> T:
    """Ask again while the API server is away."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except (KubeError, HTTPError, OSError) as error:
            if time.monotonic() > deadline or (isinstance(error, KubeError) and error.code in (400, 403, 422)):
                raise
        time.sleep(1)
