"""A gate that compares with what is served, on a real API server: the tests play the kubelet, loaders and gateways."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests import builders
from tests.integration.support.eventually import eventually, stays
from tests.integration.support.house import House
from tests.integration.support.players import Players

Object = builders.Object
GOOD = builders.gate()["spec"]["criteria"][0]
DROP: Object = {"name": "no-worse", "suite": "held-out", "metric": "f1_macro", "against": "Incumbent"}
DROP |= {"allowedDrop": {"absolute": 0.03}}
OUTCOMES: dict[str, Object] = {
    "Skipped": {"scored": 0, "message": "criteria[no-worse].whenAbsent (Skip): nothing is served yet."},
    "Failed by Fail": {"scored": 0, "message": "Set whenAbsent to Skip until something is served."},
    "Passed": {"value": 0.9, "reference": 0.9, "low": -0.01, "high": 0.01, "threshold": -0.03, "scored": 150},
    "Failed": {"value": 0.8, "reference": 0.9, "low": -0.13, "high": -0.07, "threshold": -0.03, "scored": 150},
    "Inconclusive": {"value": 0.88, "reference": 0.9, "low": -0.05, "high": 0.01, "threshold": -0.03, "scored": 150}
    | {"needed": 600, "message": "150 rows do not tell. Give the suite about 600 rows."},
}


@pytest.fixture
def house(house: House) -> Iterator[House]:
    """The same, whose engines and gateways answer."""
    with Players(house.kube, house.kubelet).playing():
        yield house


def compare(house: House, when_absent: str = "Skip") -> None:
    criteria = [GOOD, DROP | {"whenAbsent": when_absent}]
    house.kube.patch("EvalGate", "good", {"spec": {"criteria": criteria, "maxConcurrent": 8}})


def evaluation(house: House, run: str, beside: str | None) -> Object:
    """Return the Evaluation of a run beside what another has made, which has no verdict yet."""

    def look() -> Object | None:
        found = [each for each in house.evaluations(run) if "verdict" not in each.get("status", {})]
        return next((each for each in found if each["spec"].get("incumbent", {}).get("run") == beside), None)

    made = eventually(look, 60, f"{run} is judged beside {beside}")
    assert made
    return made


def decide(house: House, run: str, beside: str | None, what: str) -> Object:
    """Let a pod find this of the comparison; the candidate is good by itself."""
    name = evaluation(house, run, beside)["metadata"]["name"]
    outcome = what.partition(" ")[0]
    verdict = "Passed" if outcome == "Skipped" else outcome
    report: dict[str, Any] = builders.evaluation_report()
    told = report["evaluation"]
    told["results"].append({"criterion": "no-worse", "outcome": outcome} | OUTCOMES[what])
    told["verdict"] = verdict
    house.kubelet.succeeded(house.pod_that_judges(name), json.dumps(report))
    return house.awaits("Evaluation", name, "Decided")


def test_from_the_first_release_on_to_one_that_is_no_worse(house: House) -> None:
    """NoUngatedTraffic: worse, and too close to tell, stay out; and what serves is not compared with itself."""
    compare(house)
    house.deploy()
    house.make_candidate()
    told = decide(house, "first", None, "Skipped")
    assert (told["status"]["verdict"], told["status"]["results"][1]["outcome"]) == ("Passed", "Skipped")
    house.serves("first")
    for run, artifact, what in (("worse", "8", "Failed"), ("close", "9", "Inconclusive")):
        house.make_candidate(run, artifact)
        told = decide(house, run, "first", what)
        assert told["status"]["verdict"] == what
        assert told["status"]["results"][1].get("needed") == OUTCOMES[what].get("needed")

        def said(run: str = run) -> bool:
            admitted = next(each for each in house.status["conditions"] if each["type"] == "CandidateAdmitted")
            return f"Run {run} has not passed" in admitted["message"]

        eventually(said, 60, f"{run} is not admitted")
        stays(lambda: house.status["serving"]["run"] == "first" and "candidate" not in house.status, 1.0)
    house.make_candidate("equal", "a")
    decide(house, "equal", "first", "Passed")
    house.serves("equal")
    gated = next(each for each in house.status["conditions"] if each["type"] == "Gated")
    assert (gated["status"], gated["reason"]) == ("True", "Passed")
    assert len(house.evaluations("equal")) == 1


@pytest.mark.long
def test_an_incumbent_that_changed_between_verdict_and_admission_is_compared_with_anew(house: House) -> None:
    """NoUngatedTraffic: a verdict beside what is served no more admits nothing."""
    compare(house)
    house.deploy()
    house.make_candidate()
    decide(house, "first", None, "Skipped")
    house.serves("first")
    house.make_candidate("second", "8")
    house.make_candidate("third", "9")
    evaluation(house, "third", "first")
    decide(house, "second", "first", "Passed")
    house.serves("second")
    decide(house, "third", "first", "Passed")

    def waits() -> bool:
        admitted = next(each for each in house.status["conditions"] if each["type"] == "CandidateAdmitted")
        return "has not passed gate good (IncumbentChanged)" in str(admitted["message"])

    eventually(waits, 60, "it is judged again")
    assert house.status["serving"]["run"] == "second"
    decide(house, "third", "second", "Passed")
    house.serves("third")


@pytest.mark.long
def test_what_is_worse_comes_back_only_where_somebody_lets_what_was_served_come_back(house: House) -> None:
    """NoUngatedTraffic, IncumbentStays."""
    compare(house)
    house.deploy()
    house.make_candidate()
    decide(house, "first", None, "Skipped")
    house.serves("first")
    house.make_candidate("second", "8")
    decide(house, "second", "first", "Passed")
    house.serves("second")
    first = house.status["history"][1]
    change: Object = {"model": {"latest": None, "run": "first"}}
    house.kube.patch("ModelDeployment", "answers", {"spec": change})
    decide(house, "first", "second", "Failed")
    eventually(lambda: house.condition("CandidateAdmitted") == ("False", "GateFailed"), 60, "it is compared")
    stays(lambda: house.status["serving"]["run"] == "second" and "candidate" not in house.status, 1.0)
    house.kube.patch("ModelDeployment", "answers", {"spec": {"rollout": {"rollbackWindow": 1}}})
    house.serves("first")
    assert house.status["serving"]["gates"] == first["gates"]
    assert house.condition("Gated") == ("True", "Passed")


def test_where_nothing_is_served_a_gate_may_let_nothing_pass(house: House) -> None:
    compare(house, "Fail")
    house.deploy()
    house.make_candidate()
    told = decide(house, "first", None, "Failed by Fail")
    assert told["status"]["verdict"] == "Failed"
    eventually(lambda: house.ready()[0] == "GateFailed", 60, "it is not admitted")
    compare(house)
    decide(house, "first", None, "Skipped")
    house.serves("first")
