"""When following a run ends: it has ended, waits for a person, or something was in the way for long."""

from typing import cast

import pytest

from tests import builders, following
from tests.following import PATIENCE, Patience
from tests.kube import Kube, Object

PROJECT, RUN = builders.stored(builders.project()), builders.stored(builders.run())
CHANGED = PROJECT | {"metadata": PROJECT["metadata"] | {"generation": 2}}
HOUR = 3600.0


def says(obj: Object, reason: str, *, ready: bool = False, stalled_at: int = 0) -> Object:
    """Return an object whose Ready has this reason; `stalled_at` is the generation for which it waits for a person."""
    conditions: list[Object] = [
        {"type": "Ready", "status": str(ready), "reason": reason, "message": f"It says {reason}."}
    ]
    if stalled_at:
        conditions.append({"type": "Stalled", "status": "True", "observedGeneration": stalled_at})
    return obj | {"status": {"conditions": conditions}}


def lost(*seen: tuple[float, Object]) -> str:
    """Return what is told of an object that is seen to be so at these times."""
    times: list[float] = []
    patience = Patience(lambda: times[-1])
    for time, obj in seen:
        times.append(time)
        if words := patience.lost(obj):
            return words
    return ""


@pytest.mark.parametrize(
    "seen",
    [
        [(0.0, says(PROJECT, "Resolving")), (HOUR, says(PROJECT, "Resolving"))],
        [(0.0, says(RUN, "ProjectNotReady")), (HOUR, says(RUN, "ProjectNotReady"))],
        [(0.0, says(RUN, "Running")), (HOUR, says(RUN, "Running"))],
        [(0.0, PROJECT), (PATIENCE - 1, PROJECT)],
        [(0.0, says(RUN, "SameInputs")), (PATIENCE, says(RUN, "SameInputs"))],
        [(0.0, says(RUN, "SameRelease")), (PATIENCE, says(RUN, "SameRelease"))],
        [(0.0, says(PROJECT, "Unschedulable")), (PATIENCE - 1, says(PROJECT, "Unschedulable"))],
        [
            (0.0, says(PROJECT, "PodLost")),
            (1.0, says(PROJECT, "Resolved", ready=True)),
            (HOUR, says(PROJECT, "PodLost")),
        ],
        [(0.0, says(RUN, "Unschedulable")), (1.0, says(RUN, "Running")), (HOUR, says(RUN, "Unschedulable"))],
        # Before the operator has seen the change by which it was mended.
        [(0.0, says(CHANGED, "Leakage", stalled_at=1))],
    ],
)
def test_what_may_still_become_of_it_goes_on(seen: list[tuple[float, Object]]) -> None:
    assert lost(*seen) == ""


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([(0.0, says(PROJECT, "Leakage", stalled_at=1))], "TransformerProject desk: Leakage: It says Leakage."),
        ([(0.0, says(RUN, "OutOfMemory", stalled_at=1))], "FineTuneRun first: OutOfMemory: It says OutOfMemory."),
        (
            [(0.0, says(PROJECT, "Forbidden")), (PATIENCE, says(PROJECT, "Forbidden"))],
            "TransformerProject desk: Forbidden: It says Forbidden. It has been in trouble for 10 minutes.",
        ),
        (
            [
                (0.0, says(PROJECT, "ServiceFailed")),
                (10.0, says(PROJECT, "Resolving")),
                (PATIENCE, says(PROJECT, "Resolving")),
                (PATIENCE + 10, says(PROJECT, "ServiceFailed")),
            ],
            "TransformerProject desk: ServiceFailed: It says ServiceFailed. It has been in trouble for 10 minutes.",
        ),
        (
            [(0.0, RUN), (PATIENCE, RUN)],
            "FineTuneRun first: the operator has not seen it: kubectl logs -n stagecoach-system deployment/stagecoach",
        ),
    ],
)
def test_what_needs_a_person_is_told(seen: list[tuple[float, Object]], words: str) -> None:
    assert lost(*seen) == words


class Shown:
    """Shows a project, and a run in one state after another."""

    def __init__(self, project: Object, *runs: Object) -> None:
        self.project, self.runs = project, iter(runs)

    def get(self, kind: str, _name: str) -> Object:
        return self.project if kind == "TransformerProject" else next(self.runs)


def test_a_run_is_told_of_until_it_has_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0)
    kube = Shown(says(PROJECT, "Resolving"), RUN, RUN | {"status": {"phase": "Succeeded"}})
    told: list[Object] = []
    assert following.follow(cast(Kube, kube), "desk", "first", told.append) == ""
    assert told == [{}, {"phase": "Succeeded"}]


def test_a_run_whose_project_waits_for_a_person_is_not_waited_for() -> None:
    kube = Shown(says(PROJECT, "Leakage", stalled_at=1), says(RUN, "ProjectNotReady"))
    assert following.follow(cast(Kube, kube), "desk", "first") == "TransformerProject desk: Leakage: It says Leakage."


DEPLOYMENT = builders.stored(builders.deployment())
ROUTED = {"gateways": 1, "acknowledged": 1}


def serves(run: str, candidate: str = "", **status: object) -> Object:
    """Return a deployment that is ready, and serves a run."""
    made = says(DEPLOYMENT, "Serving", ready=True)
    made["status"] |= {"serving": {"run": run}, "history": [{"run": run}, {"run": "zeroth"}], "routes": ROUTED} | status
    return made | {"status": made["status"] | ({"candidate": {"run": candidate}} if candidate else {})}


class Deployed:
    """Shows a deployment in one state after another."""

    def __init__(self, *states: Object) -> None:
        self.states = iter(states)

    def get(self, _kind: str, _name: str) -> Object:
        return next(self.states)


def deployed(*states: Object) -> tuple[str, int]:
    """Return what following it says, and how often it looked."""
    told: list[Object] = []
    return following.served(cast(Kube, Deployed(*states)), "answers", "second", told.append), len(told)


def test_a_deployment_is_told_of_until_all_requests_go_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0)
    before = (says(DEPLOYMENT, "Starting"), serves("first"), serves("first", "second"), serves("second", "third"))
    unheard = serves("second", routes=ROUTED | {"acknowledged": 0})
    assert deployed(*before, unheard, serves("second")) == ("", 6)


def test_a_run_that_was_replaced_before_anybody_looked_is_not_waited_for() -> None:
    history = [{"run": "third"}, {"run": "second"}]
    assert deployed(serves("third", history=history)) == ("", 1)


def test_a_run_that_a_deployment_has_rejected_is_not_waited_for() -> None:
    rejected = {"run": "second", "reason": "TooManyErrors", "message": "Of 20 requests 9 failed."}
    words, looks = deployed(serves("first", rejected=[rejected]))
    assert words == "ModelDeployment: run second was rejected (TooManyErrors): Of 20 requests 9 failed."
    assert looks == 1
