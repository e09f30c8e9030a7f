"""Each check of a soak finds what is wrong with gates and Evaluations."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from stagecoach.contract.evaluations import EvaluationRecord
from tests import builders
from tests.soak import verdict
from tests.soak.audit import Write
from tests.soak.evidence import Evidence, Recorded
from tests.soak.ground import SIMULATED
from tests.unit.contract.documents import OWNER
from tests.unit.kinds import gates
from tests.unit.test_soak_verdict import GOOD as OF_RUNS
from tests.unit.test_soak_verdict import Object, lease, run, write

RECORD = builders.digest("c")
MADE = gates.evaluation()
NAME, KEY = MADE["metadata"]["name"], MADE["spec"]["key"]
TOLD = builders.evaluation_report()["evaluation"]


def evaluation(verdict: str | None = "Passed", name: str = NAME, **changes: Any) -> Object:
    made = copy.deepcopy(MADE)
    made["metadata"] |= {"name": name}
    ready = {"type": "Ready", "status": "True", "reason": "CriterionFailed", "message": "It fails. Create another run."}
    made["status"] = {
        "phase": "Decided" if verdict else "Running",
        "conditions": [ready],
        "results": TOLD["results"],
        "report": {"uri": "pvc://store/desk", "digest": RECORD},
        "message": "words",
        "completionTime": builders.CREATED,
        "attempt": {"number": 1, "job": f"{name}-e1"},
    }
    made["status"] |= {"verdict": verdict} if verdict else {}
    made["status"] |= changes
    return made


def unmeasured(verdict: str) -> Object:
    made = evaluation(verdict)
    del made["status"]["report"], made["status"]["results"]
    return made


def pod(name: str = "first-pod", of: str = NAME, **report: Any) -> Object:
    told = builders.evaluation_report(**report)
    ended = {"exitCode": 0, "message": json.dumps(told), "startedAt": builders.CREATED, "finishedAt": builders.CREATED}
    labels = {"stagecoach.dev/name": of, "stagecoach.dev/kind": "Evaluation"}
    return {
        "metadata": {"name": name, "uid": name, "namespace": "team", "labels": labels},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}]},
    }


def candidate(name: str = "first", **changes: Any) -> Object:
    made = run(name, artifact={"digest": MADE["spec"]["release"]["artifact"]})
    made["metadata"] |= {"uid": name, "creationTimestamp": builders.CREATED}
    made["spec"] |= changes
    return made


def gate(**status: Any) -> Object:
    made = builders.gate()
    made["status"] = {"phase": "Idle", "verdicts": {"passed": 1, "failed": 0, "inconclusive": 0, "error": 0}, **status}
    return made


def told(at: int, obj: Object) -> Write:
    return write(at, "patch", "evaluations/status", obj["metadata"]["name"], response=obj)


def made_at(at: int, resource: str, name: str) -> Write:
    labels = {"stagecoach.dev/kind": "Evaluation", "stagecoach.dev/name": NAME}
    return write(at, "create", resource, name, code=201, request={"metadata": {"labels": labels}})


def recorded(digest: str = RECORD, **changes: Any) -> Recorded:
    document = {
        "schemaVersion": 1,
        "key": KEY,
        "inputs": {"release": KEY, "suites": [], "criteria": [], "minScored": 0.9},
        "release": {"asked": KEY, "artifact": KEY, "engine": {}},
        "runInputs": KEY,
        "project": "desk",
        "owner": OWNER.document(),
        "subject": {"kind": "Evaluation", "namespace": "team", "name": NAME, "uid": "u"},
        "gate": "good",
        "run": "first",
        "verdict": "Passed",
        "message": "words",
        "results": TOLD["results"],
        "suites": [],
        "exposures": 1,
        "report": [],
        "image": "image",
        "started": builders.CREATED,
        "finished": builders.CREATED,
        "seconds": 1.0,
    }
    return Recorded(digest, EvaluationRecord.model_validate(document | changes))


UNDECIDED = evaluation(None)
JOB = made_at(4, "jobs", f"{NAME}-e1")
WRITES = [lease(1, "a"), made_at(2, "evaluations", NAME), told(3, UNDECIDED), JOB, told(5, evaluation())]
GOOD = replace(
    OF_RUNS,
    runs=[candidate()],
    writes=[*OF_RUNS.writes, *WRITES],
    pods=[*OF_RUNS.pods, pod()],
    gates=[gate()],
    evaluations=[evaluation()],
    records={KEY: recorded()},
)


def found(check: str, evidence: Evidence) -> list[str]:
    return verdict.judge(evidence)[check]


def test_nothing_is_found_where_all_is_well() -> None:
    assert not {name: wrong for name, wrong in verdict.judge(GOOD).items() if wrong}


def elsewhere(obj: Object) -> Object:
    obj["metadata"]["namespace"] = SIMULATED
    return obj


OTHER_RESULTS = [TOLD["results"][0] | {"value": 0.95}]
HELPLESS = {"type": "Ready", "status": "False", "reason": "CriterionFailed", "message": "It fails."}


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("every_evaluation_ends", {"evaluations": [UNDECIDED]}),
        ("every_evaluation_ends", {"gates": [gate(phase="Judging")]}),
        ("every_evaluation_ends", {"gates": [gate(waiting=[{"run": "first"}])]}),
        ("every_evaluation_ends", {"gates": [gate(unjudged=[{"run": "first"}])]}),
        ("every_candidate_is_judged", {"evaluations": []}),
        ("every_candidate_is_judged", {"runs": [candidate(purpose="Experiment")]}),
        ("verdicts_are_final", {"evaluations": [evaluation("Failed")]}),
        ("verdicts_are_final", {"evaluations": [UNDECIDED]}),
        ("verdicts_are_final", {"evaluations": []}),
        ("verdicts_are_final", {"writes": [*WRITES, told(6, evaluation("Failed")), told(7, evaluation())]}),
        ("verdicts_are_final", {"writes": [*WRITES, told(6, UNDECIDED), told(7, evaluation())]}),
        ("verdicts_are_final", {"writes": [*WRITES, told(6, evaluation(results=OTHER_RESULTS))]}),
        ("verdicts_are_final", {"writes": [*WRITES, told(6, evaluation(completionTime="later"))]}),
        ("verdicts_are_an_evaluators_word", {"pods": []}),
        ("verdicts_are_an_evaluators_word", {"pods": [pod(of="another")]}),
        ("verdicts_are_an_evaluators_word", {"pods": [pod(verdict="Failed")]}),
        ("verdicts_are_an_evaluators_word", {"pods": [pod(results=OTHER_RESULTS)]}),
        ("verdicts_are_an_evaluators_word", {"pods": [pod(record=builders.digest("d"))]}),
        ("verdicts_are_an_evaluators_word", {"evaluations": [unmeasured("Passed")], "pods": []}),
        ("verdicts_are_an_evaluators_word", {"evaluations": [unmeasured("Error")]}),
        ("records_say_what_verdicts_say", {"records": {}}),
        ("records_say_what_verdicts_say", {"records": {KEY: "report.html is not what the record says"}}),
        ("records_say_what_verdicts_say", {"records": {KEY: recorded(verdict="Failed")}}),
        ("records_say_what_verdicts_say", {"records": {KEY: recorded(results=OTHER_RESULTS)}}),
        ("records_say_what_verdicts_say", {"records": {KEY: recorded(builders.digest("d"))}}),
        ("real_evaluations_are_measured", {"evaluations": [unmeasured("Error")]}),
        ("same_key_once", {"writes": [*WRITES, made_at(6, "evaluations", NAME)]}),
        ("same_key_once", {"pods": [pod(), pod("again")]}),
        (
            "same_key_once",
            {"pods": [pod(), pod("of another", of="twin")], "evaluations": [evaluation(), evaluation(name="twin")]},
        ),
        ("gates_count_right", {"gates": [gate(verdicts={"passed": 2})]}),
        ("gates_count_right", {"evaluations": [evaluation("Failed")]}),
        ("every_failure_speaks", {"evaluations": [evaluation("Failed", conditions=[HELPLESS])]}),
        ("intent_first", {"writes": [lease(1, "a"), JOB]}),
        ("intent_first", {"writes": [lease(1, "a"), JOB, told(5, evaluation())]}),
        ("no_job_twice", {"writes": [*WRITES, JOB]}),
        ("stale_writers_are_refused", {"writes": [lease(1, "a"), lease(2, "b"), told(3, evaluation())]}),
    ],
)
def test_what_is_wrong_is_found(check: str, changes: Object) -> None:
    assert found(check, replace(GOOD, **changes))


ADOPTED = pod("second-pod", of="twin", adopted=True)
BEREFT = frozenset({("team", NAME)})


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("every_candidate_is_judged", {"runs": [candidate(), run("trains", "Running")]}),
        ("verdicts_are_final", {"writes": [*WRITES, told(6, evaluation(conditions=[]))]}),
        ("verdicts_are_an_evaluators_word", {"evaluations": [unmeasured("Error")], "pods": []}),
        ("verdicts_are_an_evaluators_word", {"pods": [], "bereft": BEREFT}),
        ("verdicts_are_an_evaluators_word", {"evaluations": [unmeasured("Error")], "bereft": BEREFT}),
        ("records_say_what_verdicts_say", {"evaluations": [unmeasured("Error")], "records": {}}),
        ("records_say_what_verdicts_say", {"evaluations": [elsewhere(evaluation())], "records": {}}),
        ("real_evaluations_are_measured", {"evaluations": [elsewhere(unmeasured("Error"))]}),
        ("same_key_once", {"pods": [pod(), ADOPTED], "evaluations": [evaluation(), evaluation(name="twin")]}),
    ],
)
def test_what_is_well_is_left_alone(check: str, changes: Object) -> None:
    assert not found(check, replace(GOOD, **changes))


def test_a_gate_answers_for_its_newest_candidates() -> None:
    older = candidate("older")
    older["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    older["status"]["artifact"]["digest"] = builders.digest("e")
    two = replace(GOOD, runs=[candidate(), older])
    assert found("every_candidate_is_judged", two)
    newest = gate()
    newest["spec"]["newest"] = 1
    assert not found("every_candidate_is_judged", replace(two, gates=[newest]))
