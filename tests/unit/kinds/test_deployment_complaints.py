"""What pods complain of is said with what to do."""

import pytest

from stagecoach.contract.times import timestamp
from stagecoach.kinds.modeldeployment.stuck import PATIENCE
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import judged, told, with_second
from tests.unit.kinds.deployment_scenes import BY_HAND
from tests.unit.kinds.deployments import serving
from tests.unit.kinds.gates import succeeded


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
    for status in ("True", "False"):
        up = {"type": "Available", "status": status, "lastTransitionTime": timestamp(stage.now)}
        stage._store(engine | {"status": {"conditions": [up]}})
        stage.serve()
        assert told(stage) == ("Pending", "Starting", "False"), "its pod went a moment ago"
    stage.wait(61)
    stage.serve()
    assert told(stage) == ("Pending", "PodMissing", "False")
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    stage._store(engine | {"status": {"conditions": [refused]}})
    stage.serve()
    assert told(stage) == ("Pending", "PodRefused", "False")
    assert "exceeded quota" in stage.said()["message"]


@pytest.mark.parametrize("part", ["serving", "candidate"])
def test_a_pod_that_nobody_makes_again_is_missed_whatever_its_deployment_says(part: str) -> None:
    stage = serving(rollout=BY_HAND)
    if part == "candidate":
        whole = succeeded("whole", 2)
        whole["status"]["artifact"]["type"] = "Model"
        stage.put(whole)
        stage.judge()
        stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    name = stage.told_status[part]["engine"]
    up = {"type": "Available", "status": "True", "lastTransitionTime": timestamp(stage.now)}
    for _ in range(9):
        stage.go_on(30)
    found = stage.children["Deployment", name]
    stage._store(found | {"status": found["status"] | {"conditions": [up]}})
    [pod] = stage.pods(name)
    stage._gone(("Pod", pod["metadata"]["name"]))
    condition, missed = "Loaded" if part == "serving" else "Reconciling", f"Deployment {name} has no pod."
    stage.serve()
    assert missed not in stage.said(condition)["message"], "its pod went a moment ago"
    for _ in range(37):
        if missed not in stage.said(condition)["message"]:
            stage.wait(10)
            stage.serve()
    words = stage.said(condition)["message"]
    assert missed in words
    assert speaks("PodMissing", words)


@pytest.mark.parametrize("of", ["engine", "gateway"])
def test_a_pod_that_does_not_come_up_beside_one_that_serves_is_told_after_a_while(of: str) -> None:
    stage = serving(replicas=2, gateway={"replicas": 2})
    late = stage.pods(stage.told_status["serving"]["engine"] if of == "engine" else None)[-1]
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available."}
    stage._store(late | {"status": {"phase": "Pending", "conditions": [unscheduled]}})
    stage.serve()
    assert (stage.phase, stage.said()["status"]) == ("Available", "True")
    stage.wait(PATIENCE.total_seconds())
    stage.serve()
    stage.serve()
    assert (stage.phase, stage.said()["status"]) == ("Degraded", "True")
    stalled = stage.said("Stalled")
    assert stalled["reason"] == "Unschedulable"
    assert speaks(stalled["reason"], stalled["message"])


def test_a_pod_that_was_ready_for_long_has_some_time_to_be_so_again() -> None:
    stage = serving(gateway={"replicas": 2})
    stage.go_on(7200)
    late = stage.pods()[-1]
    ended = [{"name": "gateway", "state": {}, "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}}]
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": timestamp(stage.now)}
    stage._store(late | {"status": {"phase": "Running", "conditions": [unready], "containerStatuses": ended}})
    stage.serve()
    stage.serve()
    assert stage.phase == "Available"
    stage.wait(PATIENCE.total_seconds() + 1)
    stage.serve()
    stage.serve()
    assert (stage.phase, stage.said("Stalled")["reason"]) == ("Degraded", "ContainerEnds")


def test_what_serves_badly_is_told_whatever_is_about_to_take_over() -> None:
    stage = serving(gateway={"replicas": 2}, rollout=BY_HAND)
    with_second(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("weight"))
    assert (stage.phase, stage.said("Reconciling")["reason"]) == ("Progressing", "TakingOver")
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available."}
    stage._store(stage.pods()[-1] | {"status": {"phase": "Pending", "conditions": [unscheduled]}})
    stage.wait(PATIENCE.total_seconds() + 1)
    stage.serve()
    stage.serve()
    stalled = stage.said("Stalled")
    assert (stage.phase, stalled["reason"], stage.said()["status"]) == ("Degraded", "Unschedulable", "True")
    assert "Run second is about to take over." in stalled["message"]
    assert speaks(stalled["reason"], stalled["message"])
    assert not stage.said("Reconciling")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}, "PodRefused"),
        ({"type": "Progressing", "status": "False", "message": "ReplicaSet has timed out"}, "PodsNotReady"),
    ],
)
def test_a_deployment_that_does_not_get_on_is_told_while_its_older_pods_serve(
    condition: builders.Object, reason: str
) -> None:
    stage = serving()
    found = stage.children["Deployment", "answers-gateway"]
    stage._store(found | {"status": found["status"] | {"conditions": [condition]}})
    stage.serve()
    stage.serve()
    assert (stage.phase, stage.said()["status"]) == ("Degraded", "True")
    stalled = stage.said("Stalled")
    assert stalled["reason"] == reason
    assert condition["message"] in stalled["message"]
    assert speaks(stalled["reason"], stalled["message"])
