"""How a release comes to be served, and what is said on the way: each state, and each thing that may go wrong."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stagecoach.contract.loading import State
from stagecoach.kinds.modeldeployment.engines import HEARD_OF, NEW
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployments import Stage, project, serving
from tests.unit.kinds.gates import succeeded

STEPS = [{"weight": 10, "hold": "1m", "minRequests": 20}, {"weight": 50, "hold": "5m"}]
CANARY = {"canary": {"steps": STEPS}}


def told(stage: Stage) -> tuple[str, str, str]:
    """Return phase, and reason and status of Ready, whose words say what to do."""
    ready = stage.said()
    assert ready["status"] == "True" or speaks(ready["reason"], ready["message"]), ready
    return stage.phase, ready["reason"], ready["status"]


def kinds(stage: Stage) -> list[str]:
    return sorted({each["kind"] for each in stage.children.values()} - {"Pod"})


def judged(*objects: builders.Object, **spec: Any) -> Stage:
    stage = Stage(*objects, **spec)
    stage.judge()
    return stage


def with_second(stage: Stage) -> None:
    """Let a newer run pass."""
    stage.put(succeeded("second", 2))
    stage.judge()


def test_before_anything_has_passed_nothing_is_made() -> None:
    stage = Stage()
    plan = stage.serve()
    assert told(stage) == ("Pending", "Judging", "False")
    assert (plan.create, plan.apply, plan.ask, plan.requeue_after) == ((), (), (), None)
    assert stage.said("Reconciling")["status"] == "True"
    stage.judge("Failed")
    assert stage.serve().requeue_after is None
    assert told(stage) == ("Pending", "GateFailed", "False")
    assert stage.said("Stalled")["reason"] == "GateFailed"
    assert kinds(stage) == []


def test_intent_first_then_the_document_then_the_engine() -> None:
    stage = judged()
    plan = stage.serve()
    assert (plan.create, plan.apply) == ((), ())
    assert stage.told_status["candidate"]["run"] == "first"
    plan = stage.serve()
    assert [each["kind"] for each in plan.create] == ["ConfigMap", "ConfigMap"]
    assert [each["kind"] for each in plan.apply] == ["NetworkPolicy", "ConfigMap"]
    plan = stage.serve()
    assert [each["kind"] for each in plan.create] == ["Secret"]
    order = [(each["kind"], each["metadata"]["name"]) for each in plan.apply]
    engine = stage.told_status["candidate"]["engine"]
    assert order == [
        ("NetworkPolicy", "answers-engines"),
        ("Service", "answers"),
        ("PodDisruptionBudget", "answers-gateway"),
        ("Deployment", "answers-gateway"),
        ("Service", engine),
        ("Deployment", engine),
    ]
    assert stage.serve().requeue_after == 0.2, "soon, for all of it is new"


def test_it_is_served_when_its_engine_answers_and_a_gateway_knows() -> None:
    stage = judged()
    stage.until(lambda: stage.loaders, loads=False)
    for _ in range(5):
        stage.go_on(loads=False)
    assert told(stage) == ("Pending", "Starting", "False")
    stage.until(lambda: stage.serves("first"))
    assert told(stage) == ("Available", "Serving", "True")
    status = stage.told_status
    assert "candidate" not in status
    assert [each["run"] for each in status["history"]] == ["first"]
    assert (status["endpoint"], status["replicas"]) == ("http://answers.team.svc", 1)
    assert status["routes"] == status["routes"] | {"gateways": 1, "acknowledged": 1}
    assert "spec.access names no keys" in stage.said()["message"]
    assert (stage.said("Gated")["status"], stage.said("Loaded")["status"]) == ("True", "True")
    [routes] = stage.routes()
    assert routes.stable is not None
    assert routes.stable.release == status["serving"]["release"]
    assert stage.serve().requeue_after == 15
    assert [reason for reason, _ in stage.events if reason != "Judging"] == ["Admitted", "Serving"]


def test_at_rest_nothing_is_written_and_answers_are_renewed() -> None:
    stage = serving()
    for _ in range(3):
        stage.go_on(15)
    versions = len(stage.versions)
    for _ in range(6):
        plan = stage.serve()
        assert plan.requeue_after == 15
        assert [call.path for call in plan.ask if call.port == 8001] == ["/models"]
        stage.wait(15)
    assert len(stage.versions) == versions


def test_an_operator_that_begins_says_nothing_else_before_it_has_asked() -> None:
    stage = serving()
    for _ in range(3):
        stage.go_on(15)
    versions = len(stage.versions)
    stage.cache._answers.clear()
    plan = stage.serve(writes=0)
    assert {call.path for call in plan.ask} == {"/models", "/routes"}
    assert plan.status == stage.told_status
    stage.serve()
    stage.serve()
    assert len(stage.versions) == versions
    stage.cache._answers.clear()
    stage.silent = {*stage.loaders}
    stage.serve()
    stage.serve()
    assert stage.said()["status"] == "False", "who was asked, and is silent, does not answer"


def test_an_adapter_of_the_same_base_takes_over_on_the_same_engine() -> None:
    stage = serving()
    before = stage.told_status["serving"]
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    assert not any(version["status"].get("candidate", {}).get("seen") for version in stage.versions[1:])
    after = stage.told_status["serving"]
    assert (after["engine"], after["release"]) != (before["engine"], before["release"])
    assert after["engine"] == before["engine"]
    assert stage.told_status["retiring"] == []
    stage.go_on()
    [loader] = stage.loaders.values()
    assert [name[-1] for name in loader.wanted] == ["2"]


def test_another_engine_is_started_beside_and_the_old_one_goes_later() -> None:
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage = serving()
    old = stage.told_status["serving"]["engine"]
    stage.put(whole)
    stage.judge()
    stage.until(lambda: len(stage.loaders) == 2, loads=False)
    assert stage.phase == "Progressing"
    assert stage.said()["status"] == "True"
    assert stage.told_status["serving"]["run"] == "first"
    stage.until(lambda: stage.told_status["serving"]["run"] == "whole")
    assert ("Deployment", old) in stage.children
    stage.until(lambda: stage.told_status["retiring"])
    assert [each["name"] for each in stage.told_status["retiring"]] == [old]
    stage.until(lambda: ("Deployment", old) not in stage.children, 10, rounds=20)
    assert ("Service", old) not in stage.children
    assert stage.told_status["retiring"] == []
    assert stage.serves("whole")


def test_another_engine_has_no_requests_before_nodes_have_heard_of_its_pods() -> None:
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage = serving()
    stage.put(whole)
    stage.judge()
    stage.until(lambda: len(stage.loaders) == 2, loads=False)
    stage.turn()
    stage.control()
    ready = stage.now
    stage.until(lambda: stage.said("Reconciling").get("message", "").endswith(NEW.message), 1, rounds=4)
    assert speaks(NEW.reason, NEW.message)
    stage.until(lambda: stage.told_status["serving"]["run"] == "whole", 1)
    assert stage.now - ready >= HEARD_OF


def test_an_engine_is_kept_while_a_gateway_that_clients_reach_refuses_the_routes() -> None:
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage = serving()
    old = stage.told_status["serving"]["engine"]
    stage.put(whole)
    stage.judge()
    [door] = stage.doors.values()
    refuses(door)
    for _ in range(40):
        stage.go_on(10)
    assert ("Deployment", old) in stage.children
    assert told(stage) == ("Unavailable", "RoutesRefused", "False")


def refuses(door: Any) -> None:
    """Let a gateway take nothing more."""
    put = door.put

    def no(body: bytes, now: Any) -> Any:
        return replace(put(body, now), status=422, body=b"its tokenizer is not there")

    door.put = no


def test_a_silent_gateway_holds_nothing_up_for_ever() -> None:
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage = serving(gateway={"replicas": 2})
    old = stage.told_status["serving"]["engine"]
    stage.silent = {min(stage.doors)}
    stage.put(whole)
    stage.judge()
    stage.until(lambda: ("Deployment", old) not in stage.children, rounds=120)
    assert stage.told_status["serving"]["run"] == "whole"


def canary(*steps: builders.Object) -> Stage:
    """Return a stage whose second run is about to have requests."""
    stage = serving(rollout={"canary": {"steps": list(steps) or STEPS}})
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("step") == 0)
    stage.until(lambda: stage.told_status["routes"]["acknowledged"] == 1)
    return stage


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


def test_an_engine_that_does_not_start_in_time_is_rejected_with_what_its_pods_complain_of() -> None:
    stage = judged(engine={"startDeadline": "5m"})
    stage.until(lambda: stage.loaders, loads=False)
    [pod] = stage.pods(stage.told_status["candidate"]["engine"])
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    stage._store(
        pod
        | {"status": {"phase": "Pending", "initContainerStatuses": [{"name": "loader", "state": {"waiting": waiting}}]}}
    )
    stage.serve()
    assert told(stage) == ("Pending", "ImagePullFailed", "False")
    assert stage.said("Loaded")["reason"] == "ImagePullFailed"
    stage.wait(301)
    stage.serve()
    stage.serve()
    [rejected] = stage.told_status["rejected"]
    assert rejected["reason"] == "EngineNotReady"
    assert "no such image" in rejected["message"]
    assert speaks(rejected["reason"], rejected["message"])
    assert told(stage) == ("Pending", "Rejected", "False")
    assert stage.said("Stalled")["status"] == "True"
    stage.until(lambda: not [each for each in stage.of_kind("Deployment") if "-e-" in each["metadata"]["name"]], 61)


def change_of_gate(stage: Stage) -> None:
    stage.change("EvalGate", "good", minScored=0.5)


def gate_is_gone(stage: Stage) -> None:
    stage.remove("EvalGate", "good")


def run_is_gone(stage: Stage) -> None:
    stage.remove("FineTuneRun", "first")


def project_is_gone(stage: Stage) -> None:
    stage.remove("TransformerProject", "desk")


def project_asks_otherwise(stage: Stage) -> None:
    stage.put(project(precision="bfloat16"))


def verdict_is_deleted(stage: Stage) -> None:
    for each in stage.evaluations:
        stage.remove("Evaluation", each["metadata"]["name"])


def gate_says_no(stage: Stage) -> None:
    change_of_gate(stage)
    stage.judge("Failed")


@pytest.mark.parametrize(
    ("change", "phase", "gated"),
    [
        (change_of_gate, "Available", ("False", "GateChanged")),
        (gate_is_gone, "Degraded", ("False", "GateMissing")),
        (run_is_gone, "Available", ("Unknown", "RunMissing")),
        (project_is_gone, "Degraded", ("Unknown", "ProjectMissing")),
        (project_asks_otherwise, "Available", ("False", "GateChanged")),
        (verdict_is_deleted, "Available", ("False", "GateChanged")),
        (gate_says_no, "Degraded", ("False", "GateFailed")),
    ],
)
def test_the_incumbent_goes_on_whatever_becomes_of_what_it_was_admitted_by(
    change: Callable[[Stage], None], phase: str, gated: tuple[str, str]
) -> None:
    """IncumbentStays."""
    stage = serving()
    before = stage.told_status["serving"]
    change(stage)
    for _ in range(100):
        stage.go_on(15)
    assert stage.told_status["serving"] == before
    assert told(stage) == (phase, "Serving", "True")
    found = stage.said("Gated")
    assert (found["status"], found["reason"]) == gated
    assert speaks(found["reason"], found["message"])
    assert len(stage.loaders) == 1
    [routes] = stage.routes()
    assert routes.stable is not None
    assert routes.stable.release == before["release"]


def test_another_engine_is_another_candidate_of_the_same_release() -> None:
    stage = serving()
    before = stage.told_status["serving"]
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    stage.until(lambda: len(stage.loaders) == 2, loads=False)
    candidate = stage.told_status["candidate"]
    assert (candidate["release"], candidate["gates"]) == (before["release"], before["gates"])
    assert candidate["engine"] != before["engine"]
    stage.until(lambda: stage.told_status["serving"]["engine"] == candidate["engine"])
    assert stage.told_status["serving"]["since"] == before["since"], "it is the same release"
    assert len(stage.told_status["history"]) == 1
    stage.until(lambda: len(stage.loaders) == 1, 30)
    assert stage.phase == "Available"


def test_an_engine_that_is_taken_back_before_it_answers_goes() -> None:
    stage = serving()
    before = stage.told_status["serving"]
    stage.change("ModelDeployment", "answers", engine={"maxConcurrent": 8})
    stage.until(lambda: len(stage.loaders) == 2, loads=False)
    stage.change("ModelDeployment", "answers", engine={})
    stage.until(lambda: len(stage.loaders) == 1, 30, loads=False)
    assert stage.told_status["serving"] == before


def test_an_upgrade_of_the_operator_starts_no_other_engine() -> None:
    stage = serving()
    engine = stage.children["Deployment", stage.told_status["serving"]["engine"]]
    stage.settings = replace(stage.settings, engine_image="registry.example/vllm@sha256:" + "f" * 64)
    stage.settings = replace(stage.settings, evaluator_image="registry.example/evaluator@sha256:" + "f" * 64)
    for _ in range(5):
        stage.go_on()
    assert "candidate" not in stage.told_status
    found = stage.children["Deployment", stage.told_status["serving"]["engine"]]
    assert found["spec"] == engine["spec"]


def test_replicas_are_those_of_the_engine_and_of_no_other_name() -> None:
    stage = serving()
    engine = stage.told_status["serving"]["engine"]
    stage.change("ModelDeployment", "answers", replicas=3)
    stage.until(lambda: len(stage.loaders) == 3)
    stage.until(lambda: stage.told_status["replicas"] == 3)
    assert stage.told_status["serving"]["engine"] == engine
    assert stage.told_status["selector"].split(",")[1] == f"stagecoach.dev/engine={engine}"
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate"), loads=False)
    for _ in range(5):
        stage.go_on(loads=False)
    next(iter(stage.loaders.values())).turn(State.ANSWERS)
    for _ in range(5):
        stage.go_on(loads=False)
    assert stage.told_status["candidate"]["run"] == "second", "it has to answer on all of them"
    stage.until(lambda: stage.serves("second"))


def test_scaled_to_nothing_says_so_and_tries_nothing() -> None:
    stage = serving()
    stage.change("ModelDeployment", "answers", replicas=0)
    with_second(stage)
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Unavailable", "ScaledToZero", "False")
    assert stage.said("Stalled")["reason"] == "ScaledToZero"
    assert stage.serve().requeue_after == 15
    assert "candidate" not in stage.told_status
    stage.change("ModelDeployment", "answers", replicas=1)
    stage.until(lambda: stage.serves("second"))


def test_the_contract_is_told_with_another_revision() -> None:
    stage = serving()
    revision = stage.told_status["routes"]["revision"]
    stage.change("ModelDeployment", "answers", contract={"timeout": "7s"})
    stage.until(lambda: all(routes.timeout == 7 for routes in stage.routes()))
    assert stage.told_status["routes"]["revision"] == revision + 1


def test_a_gateway_that_knows_more_raises_the_revision() -> None:
    stage = serving()
    [door] = stage.doors.values()
    assert door.routes is not None
    door.routes = door.routes.model_copy(update={"revision": 40, "timeout": 3})
    stage.wait(60)
    stage.until(lambda: stage.told_status["routes"]["revision"] > 40, 15)
    stage.until(lambda: stage.told_status["routes"]["acknowledged"] == 1)
    assert door.routes.timeout == 30


def test_an_engine_is_kept_while_one_of_several_gateways_refuses_the_routes() -> None:
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage = serving(gateway={"replicas": 2})
    old = stage.told_status["serving"]["engine"]
    stage.put(whole)
    stage.judge()
    refuses(next(iter(stage.doors.values())))
    for _ in range(100):
        stage.go_on(10)
    assert stage.told_status["serving"]["run"] == "whole"
    assert ("Deployment", old) in stage.children


def test_an_older_run_is_served_when_it_is_named() -> None:
    stage = serving()
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    for _ in range(5):
        stage.go_on()
    assert stage.serves("second"), "what is older replaces nothing"
    stage.change("ModelDeployment", "answers", model={"run": "first"})
    stage.until(lambda: stage.serves("first"))
    release = stage.told_status["history"][1]["release"]
    stage.change("ModelDeployment", "answers", model={"release": release})
    stage.until(lambda: stage.serves("second"))


def test_a_run_that_is_named_and_does_not_pass_needs_somebody() -> None:
    stage = serving(model={"run": "first"})
    stage.put(succeeded("second", 2))
    stage.judge("Failed")
    stage.change("ModelDeployment", "answers", model={"run": "second"})
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Degraded", "Serving", "True")
    assert (stage.said("Stalled")["reason"], stage.said("CandidateAdmitted")["reason"]) == ("GateFailed", "GateFailed")
    assert stage.told_status["serving"]["run"] == "first"


def test_a_newer_run_that_does_not_pass_is_no_trouble_to_who_wants_the_newest_that_does() -> None:
    stage = serving()
    stage.put(succeeded("second", 2))
    stage.judge("Failed")
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Available", "Serving", "True")
    assert "Run second has not passed gate good" in stage.said("CandidateAdmitted")["message"]


def test_a_candidate_that_has_not_passed_a_gate_that_is_named_later_is_dropped() -> None:
    """NoUngatedTraffic."""
    stage = serving(rollout=CANARY)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate"), loads=False)
    stage.change("ModelDeployment", "answers", gates=[{"name": "good"}, {"name": "better"}])
    stage.go_on()
    assert "candidate" not in stage.told_status
    for _ in range(10):
        stage.go_on()
    assert stage.told_status["serving"]["run"] == "first"
    assert stage.said("CandidateAdmitted")["reason"] == "GateMissing"


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


def test_a_candidate_whose_document_cannot_be_made_is_admitted_anew() -> None:
    stage = judged()
    stage.serve(writes=1)
    before = stage.told_status["candidate"]
    moved = project()
    moved["spec"]["candidates"][0]["model"]["uri"] = "pvc://models/moved"
    stage.put(moved)
    stage.serve()
    stage.serve()
    after = stage.told_status["candidate"]
    assert (after["release"], after["admitted"]) == (before["release"], after["admitted"])
    assert after["admitted"] != before["admitted"]
    stage.until(lambda: stage.serves("first"))


def test_a_document_that_somebody_deleted_is_made_again_or_missed_with_words() -> None:
    stage = serving()
    name = stage.told_status["serving"]["admitted"]
    stage._gone(("ConfigMap", name))
    stage.until(lambda: ("ConfigMap", name) in stage.children)
    stage.until(lambda: stage.serves("first"))
    stage.remove("FineTuneRun", "first")
    stage._gone(("ConfigMap", name))
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Degraded", "AdmittedMissing", "False")
    assert len(stage.loaders) == 1
    assert all(routes.stable for routes in stage.routes())
    with_second(stage)
    stage.until(lambda: stage.serves("second"))


def test_a_run_that_has_the_name_of_the_one_that_is_served_hides_no_newer_ones() -> None:
    stage = serving()
    stage.put(succeeded("first", 5))
    stage.judge("Failed")
    stage.put(succeeded("second", 2))
    stage.judge()
    stage.serve()
    assert stage.said("Gated")["reason"] == "RunMissing"
    assert stage.told_status["candidate"]["run"] == "second"
    stage.until(lambda: stage.serves("second"))


def test_whether_it_has_passed_is_said_of_the_run_that_has_just_taken_over() -> None:
    stage = serving()
    with_second(stage)
    stage.until(lambda: stage.told_status["serving"]["run"] == "second")
    after = [each["status"] for each in stage.versions if each.get("status", {}).get("serving")]
    gated = [next(word for word in each["conditions"] if word["type"] == "Gated") for each in after]
    assert {(word["status"], word["reason"]) for word in gated} == {("True", "Passed")}


def test_what_was_admitted_once_is_forgotten_when_nothing_needs_it_any_more() -> None:
    stage = serving()
    before = stage.told_status["serving"]["admitted"]
    with_second(stage)
    stage.until(lambda: stage.serves("second"))
    for _ in range(5):
        stage.go_on(60)
    assert ("ConfigMap", before) in stage.children
    stage.wait(3600)
    stage.go_on()
    assert ("ConfigMap", before) not in stage.children
    assert ("ConfigMap", stage.told_status["serving"]["admitted"]) in stage.children


def test_of_many_runs_that_did_not_pass_one_that_did_is_found_and_none_hides_it() -> None:
    going_on = [succeeded(f"going-{number}", 20 + number) for number in range(3)]
    for each in going_on:
        each["status"] = {"phase": "Running"}
    failed = [succeeded(f"failed-{number}", 2 + number) for number in range(12)]
    stage = Stage(succeeded(), *failed, *going_on)
    stage.change("EvalGate", "good", newest=20, maxConcurrent=8)
    for _ in range(4):
        stage.look()
        for each in stage.evaluations:
            if "verdict" not in each.get("status", {}):
                stage.decide(each["metadata"]["name"], "Passed" if each["spec"]["run"] == "first" else "Failed")
    stage.until(lambda: stage.serves("first"))
    assert "Run failed-11 has not passed" in stage.said("CandidateAdmitted")["message"]


def test_children_that_somebody_changed_or_deleted_are_mended() -> None:
    stage = serving()
    engine = stage.told_status["serving"]["engine"]
    stage._gone(("Deployment", "answers-gateway"))
    stage._gone(("Service", "answers"))
    stage._gone(("Deployment", engine))
    for _ in range(3):
        stage.go_on()
    stage.until(lambda: stage.serves("first"))
    assert {("Deployment", "answers-gateway"), ("Service", "answers"), ("Deployment", engine)} <= stage.children.keys()


def test_without_what_serving_takes_nothing_is_begun_and_nothing_taken_away() -> None:
    stage = judged()
    stage.settings = replace(stage.settings, gateway_image="", master_key=b"")
    plan = stage.serve()
    assert told(stage) == ("Pending", "ServingNotInstalled", "False")
    assert "gateway.image" in stage.said()["message"]
    assert (plan.create, plan.apply, plan.ask) == ((), (), ())
    served = serving()
    served.settings = stage.settings
    plan = served.serve()
    assert told(served) == ("Degraded", "Serving", "True")
    assert served.said("Stalled")["reason"] == "ServingNotInstalled"
    assert (plan.delete, plan.apply) == ((), ())
    assert served.told_status["serving"]["run"] == "first"


def test_a_deployment_that_goes_is_left_alone() -> None:
    stage = serving()
    leaving = copy.deepcopy(stage.deployment)
    leaving["metadata"]["deletionTimestamp"] = builders.CREATED
    stage.put(leaving)
    plan = stage.serve()
    assert (plan.status, plan.create, plan.apply, plan.delete, plan.ask) == (None, (), (), (), ())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Running", "containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}, "OutOfMemory"),
        ({"phase": "Running", "containerStatuses": [{"name": "engine", "state": {}, "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "message": "no CUDA"}}}]}, "ContainerEnds"),
        ({"phase": "Pending", "containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": "ErrImagePull"}}}]}, "ImagePullFailed"),
        ({"phase": "Pending", "containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": "InvalidImageName"}}}]}, "BadImage"),
        ({"phase": "Pending", "containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}}}]}, "PodNotStarting"),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: insufficient nvidia.com/gpu."}]}, "Unschedulable"),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": 'persistentvolumeclaim "store" not found. not found.'}]}, "Unschedulable"),
    ],
    ids=["memory", "crash", "pull", "image", "config", "room", "claim"],
)  # fmt: skip
@pytest.mark.parametrize("of", ["engine", "gateway"])
def test_what_pods_complain_of_is_said_with_what_to_do(status: builders.Object, reason: str, of: str) -> None:
    stage = judged() if of == "engine" else serving()
    stage.until(lambda: stage.loaders, loads=False)
    [pod] = stage.pods(stage.told_status["candidate"]["engine"] if of == "engine" else None)
    stage._store(pod | {"status": status | {"podIP": "10.0.0.9"}})
    stage.wait(25)
    stage.serve()
    assert told(stage) == ("Pending" if of == "engine" else "Unavailable", reason, "False")


def test_pods_that_are_refused_or_missing_are_said_with_what_to_do() -> None:
    stage = judged()
    for _ in range(4):
        stage.serve()
    assert stage.said()["reason"] == "Starting"
    stage.wait(61)
    stage.serve()
    assert told(stage) == ("Pending", "PodMissing", "False")
    [engine] = [each for each in stage.of_kind("Deployment") if "-e-" in each["metadata"]["name"]]
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    stage._store(engine | {"status": {"conditions": [refused]}})
    stage.serve()
    assert told(stage) == ("Pending", "PodRefused", "False")
    assert "exceeded quota" in stage.said()["message"]


def test_words_of_a_later_version_are_told_and_nothing_is_done() -> None:
    stage = serving()
    later = copy.deepcopy(stage.deployment)
    later["spec"]["sla"] = {"p99": "1s"}
    stage.put(later)
    plan = stage.serve()
    assert stage.said()["reason"] == "InvalidSpec"
    assert (plan.apply, plan.delete) == ((), ())
    assert stage.told_status["serving"]["run"] == "first"
