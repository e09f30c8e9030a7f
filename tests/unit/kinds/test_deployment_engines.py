"""When another engine is started, what it waits for, and when the old one goes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stagecoach.contract.loading import State
from stagecoach.contract.times import moment
from stagecoach.kinds.modeldeployment.engines import HEARD_OF, NEW
from stagecoach.kinds.modeldeployment.holding import SETTLES
from stagecoach.kinds.view import Answer
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import told, with_second
from tests.unit.kinds.deployments import SERVING, Stage, serving
from tests.unit.kinds.gates import succeeded


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


@pytest.mark.parametrize("begun", [False, True])
def test_no_step_is_taken_while_a_gateway_that_clients_reach_refuses_the_routes(begun: bool) -> None:
    stage = serving(rollout={"canary": {"steps": [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "30s"}]}})
    with_second(stage)
    if begun:
        stage.until(lambda: stage.told_status.get("candidate", {}).get("step") == 0)
    [door] = stage.doors.values()
    refuses(door)
    stage.change("ModelDeployment", "answers", contract={"timeout": "9s"})
    for _ in range(40):
        stage.go_on(20)
    assert stage.told_status["serving"]["run"] == "first"
    assert stage.told_status["candidate"].get("step") == (0 if begun else None)
    words = [stage.said(each).get("message", "") for each in ("Reconciling", "Stalled")]
    assert any("its tokenizer is not there" in each and speaks("RoutesRefused", each) for each in words), words
    del door.put
    mended = stage.now
    stage.until(lambda: stage.serves("second"), 5)
    assert stage.now - mended >= timedelta(seconds=60), "each step lasts from when gateways have it"


def test_nobody_is_asked_to_promote_what_no_gateway_has() -> None:
    stage = serving(rollout={"canary": {"steps": [{"weight": 10, "hold": "Manual"}]}})
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("step") == 0)
    [door] = stage.doors.values()
    refuses(door)
    for _ in range(20):
        stage.go_on(20)
    assert "heldSince" not in stage.told_status["candidate"]
    del door.put
    mended = stage.now
    stage.until(lambda: "heldSince" in stage.told_status["candidate"])
    assert moment(stage.told_status["candidate"]["heldSince"]) - mended >= SETTLES


def refuses(door: Any) -> None:
    """Let a gateway take nothing more."""
    door.put = lambda body, now: Answer(422, b"its tokenizer is not there", now, body)


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


def test_a_gateway_that_clients_reach_and_the_operator_does_not_is_named() -> None:
    """It may answer by routes of before: whoever looks has to hear of it, although all others are as they should be."""
    stage = serving(gateway={"replicas": 2})
    stage.silent = {min(stage.doors)}
    with_second(stage)
    stage.until(lambda: stage.told_status["serving"]["run"] == "second")
    stage.until(lambda: stage.told_status["phase"] == "Degraded", rounds=40)
    stalled = stage.said("Stalled")
    assert stalled["reason"] == "RoutesRefused"
    assert "cannot be asked" in stalled["message"]
    assert speaks("RoutesRefused", stalled["message"])
    assert stage.said()["status"] == "True", "others answer"
    stage.silent = set()
    stage.until(lambda: stage.told_status["phase"] == "Available")


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
    assert (stage.phase, stage.said()["status"]) == ("Degraded", "True")
    assert stage.said("Stalled")["reason"] == "RoutesRefused"


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
    stage.settings = replace(stage.settings, engine_cpu_image="registry.example/vllm@sha256:" + "f" * 64)
    stage.settings = replace(stage.settings, evaluator_image="registry.example/evaluator@sha256:" + "f" * 64)
    for _ in range(5):
        stage.go_on()
    assert "candidate" not in stage.told_status
    found = stage.children["Deployment", stage.told_status["serving"]["engine"]]
    assert found["spec"] == engine["spec"]


def image_of(stage: Stage, engine: str) -> str:
    pod = stage.children["Deployment", engine]["spec"]["template"]["spec"]
    return str(pod["containers"][0]["image"])


def test_on_gpus_another_image_serves_than_without() -> None:
    stage = serving()
    before = stage.told_status["serving"]
    assert image_of(stage, before["engine"]) == before["engineImage"] == builders.ENGINE_IMAGE
    stage.change("ModelDeployment", "answers", engine={"resources": {"gpus": 1}})
    stage.until(lambda: stage.told_status["serving"]["engine"] != before["engine"])
    serves = stage.told_status["serving"]
    assert image_of(stage, serves["engine"]) == serves["engineImage"] == builders.GPU_ENGINE_IMAGE


@pytest.mark.parametrize(("gpus", "said"), [(0, "engineCpu.image (for spec."), (1, "engine.image (for spec.")])
def test_who_lacks_the_image_that_is_needed_is_told_which(gpus: int, said: str) -> None:
    stage = Stage(engine={"resources": {"gpus": gpus}})
    for without in (0, 1):
        stage.settings = replace(SERVING, engine_image="") if without else replace(SERVING, engine_cpu_image="")
        stage.serve()
        lacks = without == gpus
        assert (stage.said()["reason"] == "ServingNotInstalled") == lacks
        assert (f"installed without {said}" in stage.said()["message"]) == lacks


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


def test_nodes_are_emptied_one_pod_at_a_time_of_what_has_requests() -> None:
    stage = serving(rollout={"canary": {"steps": [{"weight": 10, "hold": "1m"}]}})
    before = stage.told_status["serving"]["engine"]

    def kept() -> list[str]:
        budget = stage.children["PodDisruptionBudget", "answers-engines"]
        return list(budget["spec"]["selector"]["matchExpressions"][0]["values"])

    assert kept() == [before]
    whole = succeeded("whole", 2)
    whole["status"]["artifact"]["type"] = "Model"
    stage.put(whole)
    stage.judge()
    stage.until(lambda: stage.told_status.get("candidate"))
    after = stage.told_status["candidate"]["engine"]
    stage.go_on(loads=False)
    assert kept() == [before], "its pods may yet fail to start"
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    stage.go_on()
    assert kept() == sorted([before, after])
    for _ in range(8):
        stage.ask()
        stage.go_on(16)
    assert stage.serves("whole")
    stage.go_on()
    assert kept() == [after]


def test_scaled_to_nothing_says_so_and_tries_nothing() -> None:
    stage = serving()
    stage.change("ModelDeployment", "answers", replicas=0)
    with_second(stage)
    for _ in range(5):
        stage.go_on()
    assert told(stage) == ("Unavailable", "ScaledToZero", "False")
    assert stage.said("Stalled")["reason"] == "ScaledToZero"
    assert stage.said("Loaded")["status"] == "Unknown", "nobody knows whether it would answer"
    assert stage.serve().requeue_after == 15
    assert "candidate" not in stage.told_status
    stage.change("ModelDeployment", "answers", replicas=1)
    stage.until(lambda: stage.serves("second"))
