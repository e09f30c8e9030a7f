"""A container that somebody injects beside the trainer, such as a service mesh's: it ends late, or never."""

import json
from typing import Any

import pytest

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER as RUNS
from stagecoach.kinds.transformerproject.reconcile import CONTROLLER as PROJECTS
from stagecoach.policies.pods import SETTLING
from tests import builders
from tests.unit.kinds.world import World

SECONDS = SETTLING.total_seconds() + 1
STOPPED = {"outcome": "Terminated"}
FAILED = {"outcome": "ServiceFailed", "problem": {"reason": "StorageAway", "message": "No route."}}
BAD_INPUT = {"outcome": "BadInput", "problem": {"reason": "UnknownColumn", "message": "No such column."}}


def run(nodes: int = 1, project: builders.Object | None = None) -> World:
    """Return a run whose pods run."""
    written = builders.run(resources={"nodes": nodes}) if nodes > 1 else builders.run()
    here = World(RUNS, builders.stored(written), project or builders.ready_project())
    for step in (here.reconcile, here.reconcile, here.reconcile, here.start_pods, here.reconcile, here.run_pods):
        step()
    here.reconcile()
    return here


def end(here: World, report: builders.Object | None, code: int, index: int = 0) -> builders.Object:
    """End the trainer of a pod, and not what was injected beside it."""
    pod = list(here.pod_objects.values())[index]
    state: dict[str, Any] = {"exitCode": code, "reason": "Error" if code else "Completed"}
    state |= {"startedAt": here.now.isoformat(), "finishedAt": here.now.isoformat()}
    if report is not None:
        state["message"] = json.dumps(report)
    pod["status"] = {
        "phase": "Running",
        "containerStatuses": [
            {"name": "istio-proxy", "state": {"running": {"startedAt": here.now.isoformat()}}},
            {"name": "trainer", "state": {"terminated": state}},
        ],
    }
    return pod


def follow(here: World) -> float | None:
    """Reconcile until nothing changes; return in how many seconds it wants to be called again."""
    for _ in range(5):
        plan = here.reconcile()
    return plan.requeue_after


def settle(here: World) -> None:
    """Let the time pass after which it asked to be called again."""
    again = follow(here)
    assert again is not None, "nobody will look again"
    assert again <= 30
    here.wait(max(again, SECONDS))
    follow(here)


def test_a_run_is_done_at_once_and_its_job_is_deleted_when_the_sidecar_stays() -> None:
    here = run()
    end(here, builders.artifact_report(), 0)
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
    follow(here)
    assert here.job_objects, "the sidecar is given the time to end by itself"
    settle(here)
    assert not here.job_objects


def test_a_job_whose_sidecar_ends_is_kept() -> None:
    here = run()
    pod = end(here, builders.artifact_report(), 0)
    follow(here)
    pod["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 0}}
    here.wait(SECONDS)
    follow(here)
    assert here.job_objects, "the kubelet has not told the pod's last phase, and that of the Job follows it"
    pod["status"]["phase"] = "Succeeded"
    assert follow(here) is None
    assert here.job_objects


@pytest.mark.parametrize(
    ("report", "code", "reason"),
    [
        (BAD_INPUT, 64, "UnknownColumn"),
        (FAILED, 69, "Retrying"),
    ],
    ids=["hopeless", "retried"],
)
def test_a_failure_with_a_cause_is_told_at_once_and_the_job_deleted(
    report: builders.Object, code: int, reason: str
) -> None:
    here = run()
    end(here, report, code)
    [job] = here.job_objects
    here.reconcile()
    assert here.condition("Ready")["reason"] == reason
    settle(here)
    assert job not in here.job_objects


@pytest.mark.parametrize(
    ("report", "code", "outcome"), [(STOPPED, 143, "PodLost"), (None, 139, "ProgramFailed")], ids=["stopped", "silent"]
)
def test_the_kubelet_is_not_waited_for_for_ever(report: builders.Object | None, code: int, outcome: str) -> None:
    here = run()
    end(here, report, code)
    [job] = here.job_objects
    here.reconcile()
    assert here.status["phase"] == "Running", "the kubelet may still say why"
    settle(here)
    assert here.status["attempts"][0]["outcome"] == outcome
    settle(here)
    assert job not in here.job_objects


def test_of_several_pods_those_that_stay_are_deleted_with_their_job() -> None:
    here = run(nodes=2)
    end(here, builders.artifact_report(), 0)
    follow(here)
    assert here.status["phase"] == "Succeeded"
    end(here, None, 0, index=1)
    settle(here)
    assert not here.job_objects


def test_of_several_pods_one_fails_and_the_others_are_ended() -> None:
    here = run(nodes=2)
    end(here, FAILED, 69, index=1)
    [job] = here.job_objects
    settle(here)
    assert job not in here.job_objects, "the Job controller sees no failed pod, and does not end the others"


def test_a_lookup_is_over_with_its_trainer() -> None:
    here = run(project=builders.ready_project(records=True))
    [lookup] = here.job_objects
    end(here, {"outcome": "Done"}, 0)
    settle(here)
    assert lookup not in here.job_objects
    assert [item["intent"] for item in here.status["attempts"]] == ["Lookup", "Train"]


def test_a_suspended_run_holds_nothing() -> None:
    here = run()
    end(here, FAILED, 69)
    here.reconcile()
    here.set_spec(suspend=True)
    settle(here)
    assert here.status["phase"] == "Suspended"
    assert not here.job_objects


def test_a_project_is_resolved_and_its_job_deleted() -> None:
    here = World(PROJECTS, builders.stored(builders.project()))
    for step in (here.reconcile, here.reconcile, here.start_pods, here.run_pods, here.reconcile):
        step()
    end(here, {"outcome": "Done", "resolution": builders.resolution()}, 0)
    here.reconcile()
    assert here.status["phase"] == "Ready"
    settle(here)
    assert not here.job_objects
