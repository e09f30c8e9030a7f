"""How a candidate takes over by steps, and what takes it out again."""

from collections.abc import Callable

import pytest

from stagecoach.contract.loading import State
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import CANARY, canary, change_of_gate, with_second
from tests.unit.kinds.deployments import Stage, project, serving
from tests.unit.kinds.gates import succeeded


def test_by_steps_of_time_and_requests() -> None:
    stage = canary()
    [routes] = stage.routes()
    assert routes.candidate is not None
    assert routes.stable is not None
    assert (routes.stable.release, routes.candidate.weight) == (stage.told_status["serving"]["release"], 10)
    for _ in range(4):
        stage.wait(31)
        stage.go_on()
    assert stage.told_status["candidate"]["step"] == 0, "it had too few requests"
    assert "RequestsMissing" not in stage.said()["reason"]
    assert "minRequests" in stage.said("Reconciling")["message"]
    stage.ask(300)
    stage.wait(10)
    stage.until(lambda: stage.told_status["candidate"]["step"] == 1)
    assert (stage.told_status["candidate"]["weight"], stage.told_status["candidate"]["requests"]) == (50, 0)
    stage.until(lambda: "weightSince" in stage.told_status["candidate"])
    stage.ask(10)
    stage.wait(301)
    stage.until(lambda: stage.serves("second"))
    steps = [words for reason, words in stage.events if reason == "StepTaken"]
    assert [words[:29] for words in steps] == ["Of 100 requests 10 go to run ", "Of 100 requests 50 go to run "]


def test_errors_of_its_own_bring_the_incumbent_back() -> None:
    stage = canary()
    stage.ask(1000, failing=True)
    stage.until(lambda: "candidate" not in stage.told_status)
    [rejected] = stage.told_status["rejected"]
    assert (rejected["run"], rejected["reason"]) == ("second", "TooManyErrors")
    assert speaks(rejected["reason"], rejected["message"])
    stage.until(lambda: stage.phase == "Degraded")
    [routes] = stage.routes()
    assert routes.candidate is None
    assert routes.stable is not None
    assert routes.stable.release == stage.told_status["serving"]["release"]
    assert stage.told_status["serving"]["run"] == "first"
    assert (stage.said()["status"], stage.said("Stalled")["reason"]) == ("True", "Rejected")
    for _ in range(10):
        stage.go_on()
    assert "candidate" not in stage.told_status, "it is not tried again"


def test_what_was_rejected_is_tried_again_when_something_else_is_asked_for_and_not_by_an_autoscaler() -> None:
    stage = canary()
    stage.ask(1000, failing=True)
    stage.until(lambda: "candidate" not in stage.told_status)
    stage.change("ModelDeployment", "answers", replicas=2)
    for _ in range(5):
        stage.go_on()
    assert "candidate" not in stage.told_status
    stage.change("ModelDeployment", "answers", engine={"startDeadline": "1h"})
    stage.until(lambda: stage.told_status.get("candidate", {}).get("run") == "second")
    assert stage.told_status["rejected"] == []


def test_a_newer_run_takes_the_place_of_a_candidate_with_requests() -> None:
    stage = canary()
    stage.put(succeeded("third", 3))
    stage.judge()
    stage.until(lambda: stage.told_status["candidate"]["run"] == "third")
    assert "weight" not in stage.told_status["candidate"]
    stage.until(lambda: all(routes.candidate is None for routes in stage.routes()), loads=False)
    assert ("Dropped", "Run second") in [(reason, words[:10]) for reason, words in stage.events]
    assert stage.told_status["rejected"] == []


def test_a_weight_is_renewed_and_runs_out_without_the_operator() -> None:
    stage = canary()
    until = stage.told_status["candidate"]["weightUntil"]
    stage.wait(120)
    stage.go_on()
    assert stage.told_status["candidate"]["weightUntil"] == until
    stage.wait(200)
    stage.go_on()
    stage.go_on()
    assert stage.told_status["candidate"]["weightUntil"] > until
    stage.until(lambda: stage.told_status["routes"]["acknowledged"] == 1)
    since = stage.told_status["candidate"]["stepSince"]
    stage.wait(3600)
    stage.until(lambda: stage.told_status["candidate"]["stepSince"] > since)
    assert stage.told_status["candidate"]["step"] == 0, "it begins the step again"


def test_no_step_ends_while_no_gateway_is_up() -> None:
    stage = canary({"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"})
    [pod] = stage.pods()
    stage.lose(pod["metadata"]["name"])
    stage.control()
    [pod] = stage.pods()
    stage.silent.add(pod["metadata"]["uid"])
    full = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    stage._store(pod | {"status": {"phase": "Pending", "conditions": [full]}})
    for _ in range(30):
        stage.go_on(20)
    assert stage.told_status["candidate"]["step"] == 0
    words = stage.said("Stalled")["message"]
    assert "about to take over. No step is taken before gateways have the routes. No node takes pod" in words
    assert speaks("Unschedulable", words)
    stage.silent.clear()
    stage.lose(pod["metadata"]["name"])
    stage.until(lambda: stage.serves("second"), 20)


@pytest.mark.parametrize("when", ["loading", "in a step"])
def test_what_a_loader_cannot_bring_is_rejected_with_its_words(when: str) -> None:
    stage = serving(rollout=CANARY) if when == "loading" else canary()
    if when == "loading":
        with_second(stage)
        stage.until(lambda: any(loader.models.get(f"{2:064x}") for loader in stage.loaders.values()), loads=False)
    for loader in stage.loaders.values():
        loader.models[f"{2:064x}"] = State.FAILED
    stage.until(lambda: "candidate" not in stage.told_status)
    [rejected] = stage.told_status["rejected"]
    assert (rejected["reason"], rejected["message"]) == ("WrongDigest", "Its files are others. Create another run.")
    assert stage.told_status["serving"]["run"] == "first"


def judged_anew(stage: Stage, **verdicts: str) -> None:
    """Let the gate ask for more, and say this of runs; of others it has not decided yet."""
    stage.change("EvalGate", "good", minScored=0.5, maxConcurrent=4)
    for _ in range(3):
        stage.look()
        for each in stage.evaluations:
            verdict = verdicts.get(each["spec"]["run"])
            if verdict and "verdict" not in each.get("status", {}):
                stage.decide(each["metadata"]["name"], verdict)


@pytest.mark.parametrize("verdict", ["Failed", "Inconclusive", "Error"])
def test_a_candidate_with_requests_goes_when_its_gate_says_otherwise(verdict: str) -> None:
    stage = canary()
    judged_anew(stage, second=verdict)
    stage.serve()
    assert "candidate" not in stage.told_status
    [message] = [words for reason, words in stage.events if reason == "Dropped"]
    assert f"gate good says {verdict}" in message
    stage.until(lambda: all(routes.candidate is None for routes in stage.routes()))
    for _ in range(5):
        stage.go_on(15)
    assert stage.told_status["serving"]["run"] == "first"
    assert stage.told_status["rejected"] == []
    assert stage.said("CandidateAdmitted")["reason"] == f"Gate{verdict}"


def test_a_candidate_with_requests_goes_on_while_it_is_judged_anew_whoever_is_judged_first() -> None:
    stage = canary()
    change_of_gate(stage)
    stage.go_on()
    assert stage.told_status["candidate"]["step"] == 0
    judged_anew(stage, first="Passed")
    for _ in range(3):
        stage.go_on()
    assert stage.told_status["candidate"]["run"] == "second"
    assert stage.said("CandidateAdmitted")["status"] == "True"
    judged_anew(stage, second="Passed")
    stage.ask(400)
    stage.wait(61)
    stage.until(lambda: stage.told_status["candidate"]["step"] == 1)


def selector_is_another(stage: Stage) -> None:
    stage.change("ModelDeployment", "answers", model={"latest": {"selector": {"matchLabels": {"track": "prod"}}}})


def candidate_is_gone(stage: Stage) -> None:
    stage.remove("FineTuneRun", "second")


def gate_of_candidate_is_gone(stage: Stage) -> None:
    stage.remove("EvalGate", "good")


@pytest.mark.parametrize("change", [selector_is_another, candidate_is_gone, gate_of_candidate_is_gone])
def test_a_candidate_with_requests_goes_when_nobody_means_it_any_more(change: Callable[[Stage], None]) -> None:
    stage = canary()
    change(stage)
    stage.serve()
    assert "candidate" not in stage.told_status
    for _ in range(5):
        stage.go_on(15)
    assert stage.told_status["serving"]["run"] == "first"
    assert stage.said()["status"] == "True"


def test_a_candidate_with_requests_goes_on_while_its_project_is_not_ready() -> None:
    stage, made = canary(), project()
    made["status"]["conditions"][0]["status"] = "False"
    stage.put(made)
    for _ in range(3):
        stage.go_on()
    assert stage.told_status["candidate"]["run"] == "second"
