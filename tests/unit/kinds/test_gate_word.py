"""What a gate says of a run: Passed is said by nothing but a verdict of its current key."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.kinds.evalgate.gate_word import gate_words
from stagecoach.policies.admission import GateState, GateWord
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.gates import ASKING, Hall, gate_word, project_with_canary, reviewed_spec, succeeded
from tests.unit.kinds.world import SETTINGS

UNDER_WAY = {GateState.JUDGING, GateState.WAITING, GateState.PASSED}


def say(hall: Hall, run: str = "first", gate: str = "good") -> GateWord:
    """Return what a gate says of a run that is there."""
    found = FineTuneRun.model_validate(hall.get("FineTuneRun", run))
    word = gate_word(hall.cache, ASKING, gate, found, SETTINGS)
    assert word.reason
    assert word.state in UNDER_WAY or speaks(word.reason, word.message), word
    return word


def judged(verdict: str = "Passed") -> Hall:
    """Return a gate that has come to this verdict about its only run."""
    hall = Hall(succeeded())
    hall.look()
    hall.decide(evaluation(hall), verdict)
    return hall


def evaluation(hall: Hall) -> str:
    [made] = hall.evaluations
    name: str = made["metadata"]["name"]
    return name


def test_passed_is_said_with_the_evaluation_its_key_and_its_release() -> None:
    hall = judged()
    [made] = hall.evaluations
    word = say(hall)
    assert word.passed(word.release)
    assert (word.gate, word.state, word.evaluation) == ("good", GateState.PASSED, made["metadata"]["name"])
    assert (word.key, word.release) == (made["spec"]["key"], made["spec"]["release"]["digest"])


@pytest.mark.parametrize("verdict", ["Failed", "Inconclusive", "Error"])
def test_another_verdict_is_said_with_the_evaluations_words(verdict: str) -> None:
    hall = judged()
    told = {
        "phase": "Decided",
        "verdict": verdict,
        "completionTime": builders.CREATED,
        "message": "Create another run.",
    }
    hall.put(hall.get("Evaluation", evaluation(hall)) | {"status": told})
    word = say(hall)
    assert (word.state, word.passed(word.release)) == (GateState(verdict), False)
    assert word.message == f"Evaluation {word.evaluation}: Create another run."


def test_before_there_is_a_verdict_the_run_waits_or_is_judged() -> None:
    hall = Hall(succeeded())
    assert say(hall).state is GateState.WAITING
    hall.look()
    assert say(hall).state is GateState.JUDGING
    unended = {"phase": "Running", "verdict": "Passed"}
    hall.put(hall.get("Evaluation", evaluation(hall)) | {"status": unended})
    assert say(hall).state is GateState.JUDGING, "a verdict without its time is none"


def test_what_people_are_to_look_at_awaits_them() -> None:
    hall = Hall(succeeded(), project_with_canary(), **reviewed_spec())
    hall.look()
    ready: builders.Object = {
        "type": "Ready",
        "status": "False",
        "reason": "AwaitingReview",
        "message": "See kubectl stagecoach.",
    }
    ready |= {"observedGeneration": 1, "lastTransitionTime": builders.CREATED}
    told = {"phase": "AwaitingReview", "review": {"asked": builders.CREATED, "rows": []}, "conditions": [ready]}
    hall.put(hall.get("Evaluation", evaluation(hall)) | {"status": told})
    word = say(hall)
    assert word.state is GateState.AWAITING_REVIEW
    assert word.message == f"Evaluation {word.evaluation}: See kubectl stagecoach."


@pytest.mark.parametrize(
    "change",
    [
        lambda hall: hall.change("EvalGate", "good", minScored=0.5),
        lambda hall: hall.put(with_other_rows(hall)),
        lambda hall: hall.change("TransformerProject", "desk", inference=in_bfloat16()),
    ],
    ids=["the gate's text", "its rows", "the release"],
)
def test_a_verdict_of_before_never_counts_whatever_it_was(change: Callable[[Hall], None]) -> None:
    hall = judged()
    change(hall)
    ready(hall)
    word = say(hall)
    assert (word.state, word.passed(word.release)) == (GateState.WAITING, False)
    assert word.evaluation != evaluation(hall)
    hall.look()
    assert say(hall).state is GateState.JUDGING


def test_a_verdict_that_comes_after_the_gate_has_changed_does_not_count() -> None:
    hall = Hall(succeeded(), maxConcurrent=2)
    hall.look()
    name = evaluation(hall)
    hall.change("EvalGate", "good", minScored=0.5)
    hall.look()
    hall.decide(name)
    assert say(hall).state is GateState.JUDGING
    hall.change("EvalGate", "good", minScored=0.99)
    assert say(hall).state is GateState.PASSED, "it says again what it said then"


def with_other_rows(hall: Hall) -> builders.Object:
    project = copy.deepcopy(hall.get("TransformerProject", "desk"))
    next(item for item in project["status"]["datasets"] if item["name"] == "test")["digest"] = builders.digest("e")
    return project


def in_bfloat16() -> builders.Object:
    return {"prompt": {"name": "route", "version": 1}, "precision": "bfloat16"}


def ready(hall: Hall) -> None:
    """Let the operator have looked at a changed project."""
    project = copy.deepcopy(hall.get("TransformerProject", "desk"))
    for item in project["status"]["conditions"]:
        item["observedGeneration"] = project["metadata"]["generation"]
    hall.put(project)


def test_a_gate_that_is_not_there_says_nothing_good() -> None:
    hall = judged()
    assert say(hall, gate="better").state is GateState.MISSING
    leaving = copy.deepcopy(hall.gate)
    leaving["metadata"]["deletionTimestamp"] = builders.CREATED
    hall.put(leaving)
    assert say(hall).state is GateState.MISSING


def other_version(hall: Hall) -> None:
    gate = copy.deepcopy(hall.gate)
    gate["spec"]["later"] = True
    hall.put(gate)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_version, "GateUnreadable"),
        (lambda hall: hall.remove("TransformerProject", "desk"), "ProjectMissing"),
        (
            lambda hall: hall.change("TransformerProject", "desk", tokenization={"maxLength": 9, "overflow": "Reject"}),
            "ProjectNotReady",
        ),
        (lambda hall: hall.change("EvalGate", "good", suites=[{"name": "a", "dataset": "b", "type": "HeldOut"}]), ""),
    ],
)
def test_a_gate_that_judges_nothing_admits_nothing(change: Callable[[Hall], None], reason: str) -> None:
    hall = judged()
    change(hall)
    word = say(hall)
    assert (word.state, word.reason) == (GateState.BLOCKED, reason or "UnknownDataset")


def leaving(run: builders.Object) -> builders.Object:
    run["metadata"]["deletionTimestamp"] = builders.CREATED
    return run


def unended(run: builders.Object) -> builders.Object:
    run["status"]["phase"] = "Running"
    return run


def of_another_project(run: builders.Object) -> builders.Object:
    run["spec"]["project"] = "other"
    return run


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda run: run | {"spec": run["spec"] | {"purpose": "Experiment"}}, "Experiment"),
        (leaving, "RunNotSucceeded"),
        (unended, "RunNotSucceeded"),
        (of_another_project, "OtherProject"),
    ],
)
def test_a_run_that_is_no_candidate_of_the_gate_never_passes(
    change: Callable[[builders.Object], builders.Object], reason: str
) -> None:
    hall = judged()
    hall.put(change(copy.deepcopy(hall.get("FineTuneRun", "first"))))
    word = say(hall)
    assert (word.state, word.reason) == (GateState.UNJUDGED, reason)


def test_a_run_that_cannot_be_judged_any_more_has_not_passed() -> None:
    hall = judged()
    project = copy.deepcopy(hall.get("TransformerProject", "desk"))
    project["spec"]["data"]["sets"].pop(0)
    hall.put(project)
    word = say(hall)
    assert (word.state, word.reason) == (GateState.UNJUDGED, "ProjectChanged")


@pytest.mark.parametrize("field", ["key", "gate"])
def test_an_evaluation_about_something_else_that_has_its_name_does_not_count(field: str) -> None:
    hall = judged()
    other = copy.deepcopy(hall.evaluations[0])
    other["spec"][field] = builders.digest("e") if field == "key" else "another"
    hall.put(other)
    word = say(hall)
    assert (word.state, word.reason) == (GateState.UNJUDGED, "NameTaken")


def test_an_evaluation_that_goes_or_cannot_be_read_does_not_count() -> None:
    hall = judged()
    made = copy.deepcopy(hall.evaluations[0])
    hall.put(leaving(copy.deepcopy(made)))
    assert say(hall).state is GateState.WAITING
    made["spec"]["later"] = True
    hall.put(made)
    word = say(hall)
    assert (word.state, word.reason) == (GateState.BLOCKED, "EvaluationUnreadable")


def test_runs_of_one_release_have_one_verdict() -> None:
    hall = Hall(succeeded(), succeeded("again"))
    hall.look()
    hall.decide(evaluation(hall))
    assert say(hall, "first") == say(hall, "again")
    assert say(hall, "again").state is GateState.PASSED


def test_many_runs_are_asked_about_at_once() -> None:
    runs = [succeeded(f"run-{number}", number) for number in range(1, 4)]
    hall = Hall(*runs, maxConcurrent=3)
    hall.look()
    hall.decide(hall.evaluations[0]["metadata"]["name"])
    found = [FineTuneRun.model_validate(run) for run in runs]
    words = gate_words(hall.cache, ASKING, "good", found, SETTINGS)
    assert words == [say(hall, run.metadata.name) for run in found]
    assert [word.passed(word.release) for word in words] == [False, False, True]
    assert [word.state for word in gate_words(hall.cache, ASKING, "none", found, SETTINGS)] == [GateState.MISSING] * 3


def test_what_vllm_judged_is_not_what_transformers_judged() -> None:
    hall = judged()
    hall.change("TransformerProject", "desk", inference=in_bfloat16() | {"precision": "auto", "engine": "vLLM"})
    ready(hall)
    assert say(hall).state is GateState.WAITING
    found = FineTuneRun.model_validate(hall.get("FineTuneRun", "first"))
    without = replace(SETTINGS, engine_cpu_image="")
    word = gate_word(hall.cache, ASKING, "good", found, without)
    assert (word.state, word.reason) == (GateState.BLOCKED, "EngineMissing")


def test_the_gate_judges_just_what_it_says() -> None:
    """What it says and what it does come from the same case: of every run, and of each of its texts."""
    hall = Hall(*(succeeded(f"run-{number}", number) for number in range(1, 4)), maxConcurrent=3)
    for changes in ({}, {"minScored": 0.5}, {"criteria": [against()]}):
        hall.change("EvalGate", "good", **changes)
        hall.look()
        made: dict[str, Any] = {item["metadata"]["name"]: item["spec"]["key"] for item in hall.evaluations}
        for number in range(1, 4):
            word = say(hall, f"run-{number}")
            assert made[word.evaluation] == word.key
        for name in made:
            hall.decide(name)


def against() -> builders.Object:
    return {
        "name": "worth",
        "suite": "held-out",
        "metric": "f1_macro",
        "against": "Baseline",
        "minGain": {"absolute": 0.1},
    }
