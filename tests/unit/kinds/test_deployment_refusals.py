"""What the cluster refuses is told of what it is a part of: what serves goes on, and is said to."""

import pytest

from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_scenes import CANARY
from tests.unit.kinds.deployments import QUOTA, Stage, serving
from tests.unit.kinds.gates import succeeded


def whole() -> builders.Object:
    """Return a run that needs an engine of its own."""
    run = succeeded("whole", 2)
    run["status"]["artifact"]["type"] = "Model"
    return run


def beside(stage: Stage) -> Stage:
    """Let a run pass that needs another engine, for which there is no room."""
    stage.refuses = lambda obj: "-e-" in obj["metadata"]["name"]
    stage.put(whole())
    stage.judge()
    return stage


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap"])
def test_a_part_of_a_candidate_that_is_refused_is_what_the_candidate_waits_for(kind: str) -> None:
    stage = beside(serving())
    stage.refuses = lambda obj: obj["kind"] == kind and "answers-gateway" not in obj["metadata"]["name"]
    for _ in range(10):
        stage.go_on()
    ready, goes_on = stage.said(), stage.said("Reconciling")
    assert (ready["status"], ready["reason"], stage.phase) == ("True", "Serving", "Progressing")
    assert QUOTA in goes_on["message"]
    assert stage.told_status["candidate"]["refused"]
    stage.refuses = lambda _: False
    stage.until(lambda: stage.serves("whole"))


def test_all_else_goes_on_while_a_part_of_a_candidate_is_refused() -> None:
    stage = beside(serving())
    for _ in range(5):
        stage.go_on()
    stage.change("ModelDeployment", "answers", contract={"timeout": "7s"}, gateway={"replicas": 2})
    for _ in range(5):
        stage.go_on()
    assert [routes.timeout for routes in stage.routes()] == [7, 7]
    stage._gone(("Deployment", "answers-gateway"))
    stage.go_on()
    assert ("Deployment", "answers-gateway") in stage.children


def test_a_candidate_whose_engine_is_refused_until_its_time_is_over_is_rejected_with_the_clusters_words() -> None:
    stage = beside(serving(engine={"startDeadline": "5m"}))
    stage.until(lambda: stage.told_status["rejected"], 15)
    [rejected] = stage.told_status["rejected"]
    assert (rejected["run"], rejected["reason"]) == ("whole", "EngineNotReady")
    assert QUOTA in rejected["message"]
    assert "promote the release" in rejected["message"]
    assert "startDeadline" not in rejected["message"], "more time gets it nothing"
    assert speaks(rejected["reason"], rejected["message"])
    for _ in range(3):
        stage.go_on()
    assert (stage.phase, stage.said()["status"]) == ("Degraded", "True"), "it is no matter of what serves"
    assert stage.said("Stalled")["reason"] == "Rejected"


def test_an_operator_that_was_away_holds_that_against_no_candidate() -> None:
    stage = beside(serving(engine={"startDeadline": "5m"}))
    stage.serve(writes=1)
    stage.wait(7200)
    for _ in range(5):
        stage.go_on()
    assert not stage.told_status["rejected"]
    stage.refuses = lambda _: False
    stage.until(lambda: stage.serves("whole"))


def test_another_process_that_leads_tries_before_it_rejects() -> None:
    stage = beside(serving(engine={"startDeadline": "5m"}))
    for _ in range(5):
        stage.go_on()
    since = stage.told_status["candidate"]["refused"]
    stage.wait(7200)
    stage.cache._refusals.clear()
    stage.refuses = lambda _: False
    stage.serve(writes=0)
    stage.serve()
    assert stage.told_status["candidate"]["refused"] == since
    stage.until(lambda: stage.serves("whole"))
    assert not stage.told_status["rejected"]


def test_before_anything_is_served_it_is_what_the_deployment_waits_for() -> None:
    stage = Stage()
    stage.judge()
    stage.refuses = lambda obj: obj["kind"] in ("NetworkPolicy", "Secret")
    for _ in range(5):
        stage.go_on()
    ready = stage.said()
    assert (stage.phase, ready["reason"], ready["message"]) == ("Pending", "Refused", QUOTA)
    assert speaks(ready["reason"], ready["message"])
    stage.refuses = lambda _: False
    stage.until(lambda: stage.serves("first"))


@pytest.mark.parametrize("there", [True, False])
def test_a_part_of_what_serves_that_is_refused_needs_somebody(there: bool) -> None:
    """Ready says whether it answers: it does, while its pods are there."""
    stage = serving()
    stage.refuses = lambda obj: obj["kind"] == "Deployment"
    if there:
        stage.change("ModelDeployment", "answers", gateway={"replicas": 2})
    else:
        stage._gone(("Deployment", "answers-gateway"))
    for _ in range(20):
        stage.go_on()
    told = stage.said("Stalled")
    assert (told["reason"], told["message"]) == ("Refused", QUOTA)
    assert (stage.phase, stage.said()["status"]) == (("Degraded", "True") if there else ("Unavailable", "False"))
    stage.refuses = lambda _: False
    stage.until(lambda: stage.serves("first"))


def test_a_candidate_that_answers_is_held_up_by_no_change_that_is_refused() -> None:
    """Such as by a rule that is newer than its engine, which it shares with what is served."""
    stage = serving()
    engine = stage.children["Deployment", stage.told_status["serving"]["engine"]]
    stage._store(engine | {"metadata": engine["metadata"] | {"annotations": {}}})
    stage.refuses = lambda obj: obj["kind"] == "Deployment"
    stage.put(succeeded("second", 2))
    stage.judge()
    stage.until(lambda: stage.told_status["serving"]["run"] == "second", 15)
    assert not stage.told_status["rejected"]
    assert (stage.phase, stage.said("Stalled")["message"]) == ("Degraded", QUOTA)


@pytest.mark.parametrize("of", ["engine", "gateway"])
def test_what_is_refused_hides_no_other_reason(of: str) -> None:
    """Such as a PodDisruptionBudget that no rule lets be: pods start without one."""
    stage = serving()
    stage.refuses = lambda obj: obj["kind"] == "PodDisruptionBudget"
    [pod] = stage.pods(stage.told_status["serving"]["engine"] if of == "engine" else None)
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available."}
    stage._store(pod | {"status": {"phase": "Pending", "conditions": [unscheduled]}})
    stage.wait(25)
    for _ in range(3):
        stage.serve()
        stage.wait(2)
    ready = stage.said()
    assert (stage.phase, ready["reason"]) == ("Unavailable", "Unschedulable")
    assert ready["message"].count(QUOTA) == 1
    assert speaks(ready["reason"], ready["message"])
    assert stage.said("Reconciling")["reason"] == "Unschedulable"


def test_in_a_step_a_candidate_keeps_its_requests() -> None:
    stage = serving(rollout=CANARY)
    stage.put(succeeded("second", 2))
    stage.judge()
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    stage.refuses = lambda obj: obj["kind"] == "ConfigMap" and "-routes" not in obj["metadata"]["name"]
    stage._gone(("ConfigMap", stage.told_status["candidate"]["admitted"]))
    for _ in range(5):
        stage.go_on()
    assert stage.told_status["candidate"]["refused"]
    assert stage.said()["status"] == "True"
    stage.refuses = lambda _: False
    stage.go_on()
    stage.go_on()
    assert "refused" not in stage.told_status["candidate"]
