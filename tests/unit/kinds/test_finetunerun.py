"""What a FineTuneRun does, case by case."""

import copy
import json
from typing import Any

import pytest

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from tests import builders
from tests.unit.kinds.world import World


def world(run: builders.Object | None = None, project: builders.Object | None = None) -> World:
    return World(CONTROLLER, builders.stored(run or builders.run()), project or builders.ready_project())


def start(here: World) -> None:
    """Let the current attempt's pod run."""
    here.reconcile()
    here.reconcile()
    here.start_pods()
    here.reconcile()
    here.run_pods()
    here.reconcile()


def fail(here: World, report: builders.Object | None, code: int = 69) -> None:
    here.end_pods(report, code, "Error")
    here.reconcile()


SERVICE_FAILED = {"outcome": "ServiceFailed", "problem": {"reason": "StorageAway", "message": "No route."}}


def test_a_run_that_goes_well_takes_three_status_writes() -> None:
    here = world()
    start(here)
    assert here.status["phase"] == "Running"
    here.end_pods(builders.artifact_report())
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
    assert here.status_writes == 3
    assert here.condition("Complete")["status"] == "True"
    assert here.status["artifact"]["short"] == "7" * 12
    assert here.status["artifact"]["uri"] == "pvc://store/desk/artifacts/sha256/" + "7" * 64
    assert here.status["record"]["uri"].startswith("pvc://store/desk/runs/")


def test_an_existing_record_is_adopted_with_two_status_writes_and_no_training() -> None:
    here = world(project=builders.ready_project(records=True))
    start(here)
    here.end_pods(builders.artifact_report(adopted=True))
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Adopted"
    assert here.status_writes == 2
    assert [json.loads(env_of(job))["kind"] for job in here.job_objects.values()] == ["Lookup"]
    assert "cost" not in here.status


def test_a_lookup_that_finds_nothing_is_followed_by_the_training() -> None:
    here = world(project=builders.ready_project(records=True))
    start(here)
    here.end_pods({"outcome": "Done"})
    here.reconcile()
    here.reconcile()
    assert [json.loads(env_of(job))["kind"] for job in here.job_objects.values()] == ["Lookup", "Train"]


def test_force_looks_nothing_up() -> None:
    here = world(builders.run(force=True), builders.ready_project(records=True))
    start(here)
    [job] = here.job_objects.values()
    document = json.loads(env_of(job))
    assert (document["kind"], document["force"]) == ("Train", True)


def env_of(job: builders.Object) -> str:
    [variable] = job["spec"]["template"]["spec"]["containers"][0]["env"]
    value: str = variable["value"]
    return value.replace("$$", "$")


def with_status(**changes: Any) -> builders.Object:
    project = builders.ready_project()
    project["status"] = project["status"] | changes
    return project


def not_ready() -> builders.Object:
    project = builders.ready_project()
    project["status"]["conditions"][0] |= {"status": "False", "reason": "UnknownColumn", "message": "It is wrong."}
    return project


def out_of_date() -> builders.Object:
    project = builders.ready_project()
    project["metadata"]["generation"] = 2
    return project


BLOCKED = [
    ("ProjectMissing", builders.run(project="none"), None, "Blocked", "'none'"),
    ("ProjectNotReady", builders.run(), not_ready(), "Blocked", "UnknownColumn: It is wrong."),
    ("ProjectNotReady", builders.run(), out_of_date(), "Blocked", "not been looked at"),
    ("ProjectNotReady", builders.run(), with_status(conditions=[]), "Blocked", "not been looked at"),
    ("UnknownCandidate", builders.run(base={"candidate": "big"}), builders.ready_project(), "Blocked", "it has small"),
    ("UnknownDataset", builders.run(data={"train": [{"name": "more"}]}), builders.ready_project(), "Blocked", "it has test, train, valid"),
    ("TestSplitUsed", builders.run(data={"train": [{"name": "test"}]}), builders.ready_project(), "Failed", "spec.data.train[test]"),
    ("TestSplitUsed", builders.run(data={"train": [{"name": "train"}], "validation": [{"name": "test"}]}), builders.ready_project(), "Failed", "spec.data.validation[test]"),
    ("WrongSplit", builders.run(data={"train": [{"name": "valid"}]}), builders.ready_project(), "Failed", "split Validation, not Train"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "run", "project", "phase", "words"), BLOCKED)
def test_a_run_that_cannot_start_says_why(
    reason: str, run: builders.Object, project: builders.Object | None, phase: str, words: str
) -> None:
    here = world(run, project)
    here.project = project
    here.reconcile()
    assert here.status["phase"] == phase
    assert here.condition("Ready")["reason"] == reason
    assert words in here.condition("Ready")["message"]
    assert not here.job_objects
    assert "inputs" not in here.status


def test_a_blocked_run_starts_when_its_project_is_ready() -> None:
    here = world()
    here.project = None
    here.reconcile()
    here.project = builders.ready_project()
    here.reconcile()
    assert here.status["phase"] == "Queued"


def test_failures_that_may_pass_are_retried_after_a_delay_and_not_for_ever() -> None:
    here = world(builders.run(retries=1))
    start(here)
    fail(here, SERVICE_FAILED)
    assert here.condition("Ready")["reason"] == "Retrying"
    assert "StorageAway" in here.condition("Ready")["message"]
    assert here.reconcile().requeue_after == 10
    here.wait(11)
    start(here)
    assert [attempt["number"] for attempt in here.status["attempts"]] == [1, 2]
    fail(here, SERVICE_FAILED)
    assert here.status["phase"] == "Failed"
    assert "All 1 retries are used up" in here.condition("Ready")["message"]


def test_bad_input_is_not_retried() -> None:
    here = world()
    start(here)
    problem = {"reason": "UnknownColumn", "field": "data", "message": "No column.", "remedy": "Name another."}
    fail(here, {"outcome": "BadInput", "problem": problem}, 64)
    assert here.status["phase"] == "Failed"
    assert here.condition("Ready")["reason"] == "UnknownColumn"
    assert here.condition("Ready")["message"] == "data: No column. Name another."
    assert here.status["attempts"][0]["counted"] is False


def test_a_success_without_an_artifact_is_a_failure() -> None:
    here = world()
    start(here)
    here.end_pods({"outcome": "Done"})
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ArtifactMissing"
    assert here.status["phase"] == "Failed"


def test_the_time_of_all_attempts_counts() -> None:
    here = world(builders.run(maxDuration="1h"))
    start(here)
    [first] = here.job_objects.values()
    assert first["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 3600
    here.wait(1800)
    fail(here, SERVICE_FAILED)
    here.wait(11)
    start(here)
    second = list(here.job_objects.values())[-1]
    assert second["spec"]["template"]["spec"]["activeDeadlineSeconds"] == pytest.approx(1800, abs=2)


def test_a_project_that_changed_before_a_retry_ends_the_run() -> None:
    here = world()
    start(here)
    fail(here, SERVICE_FAILED)
    here.wait(11)
    here.reconcile()
    changed = copy.deepcopy(builders.ready_project())
    changed["spec"]["tokenization"]["maxLength"] = 64
    here.project = changed
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ProjectChanged"
    assert here.status["phase"] == "Failed"


def test_a_project_that_is_made_again_before_a_retry_goes_on() -> None:
    here = world()
    start(here)
    fail(here, SERVICE_FAILED)
    here.wait(11)
    here.project = None
    here.reconcile()
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ProjectMissing"
    here.project = builders.stored(builders.project())  # not resolved yet
    here.reconcile()
    assert len(here.job_objects) == 2
    assert here.status["phase"] == "Queued"


def test_the_kubelet_is_given_time_to_say_that_the_deadline_passed() -> None:
    here = world()
    start(here)
    [pod] = here.pod_objects.values()
    stopped = {"exitCode": 143, "reason": "Error", "message": json.dumps({"outcome": "Terminated"})}
    pod["status"] = {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": {"terminated": stopped}}]}
    here.reconcile()
    assert here.status["phase"] == "Running"
    pod["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded"}
    here.reconcile()
    assert here.status["phase"] == "Failed"
    assert here.condition("Ready")["reason"] == "DeadlineExceeded"


def test_a_run_that_asks_before_the_project_has_looked_again_waits() -> None:
    project = builders.ready_project()
    project["metadata"]["annotations"] = {"stagecoach.dev/requested-at": "now"}
    here = world(project=project)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ProjectNotReady"


def test_a_job_of_an_attempt_that_has_ended_is_deleted_at_sight() -> None:
    here = world()
    start(here)
    fail(here, SERVICE_FAILED)
    late = copy.deepcopy(next(iter(here.job_objects.values())))
    late.pop("status")
    here.job_objects = {late["metadata"]["name"]: late}
    here.pod_objects.clear()  # cleaned up with the first Job of this name
    here.reconcile()
    assert not here.job_objects


def test_a_job_whose_pod_has_done_its_work_is_kept_though_the_job_controller_has_not_seen_it() -> None:
    here = world()
    start(here)
    here.end_pods(builders.artifact_report())
    for job in here.job_objects.values():
        job.pop("status")
    for pod in here.pod_objects.values():
        pod["status"]["phase"] = "Running"  # as the kubelet has it for a moment
    here.reconcile()
    assert here.status["phase"] == "Succeeded"
    here.reconcile()
    assert len(here.job_objects) == 1, "its logs are kept"


def test_a_pod_that_cannot_start_is_told_with_the_kubelets_words() -> None:
    here = world()
    here.reconcile()
    here.reconcile()
    here.start_pods()
    [pod] = here.pod_objects.values()
    here.warnings[pod["metadata"]["uid"]] = 'configmap "desk" not found'
    here.reconcile()
    assert here.condition("Ready")["reason"] == "PodNotStarting"
    assert 'configmap "desk" not found' in here.condition("Ready")["message"]


def test_equal_inputs_have_equal_digests_and_others_have_others() -> None:
    def inputs(**changes: Any) -> str:
        here = world(builders.run(**changes))
        here.reconcile()
        digest: str = here.status["inputs"]["digest"]
        return digest

    assert inputs() == inputs(retries=5, maxDuration="1h", cleanUpAfter="1d", resources={"cpu": "1", "memory": "4Gi"})
    assert len({inputs(), inputs(hyperparameters={"seed": 1}), inputs(method={"type": "LoRA", "rank": 9})}) == 3


def test_epochs_default_to_three_unless_steps_are_given() -> None:
    def hyperparameters(**given: Any) -> builders.Object:
        here = world(builders.run(hyperparameters=given))
        start(here)
        document = json.loads(env_of(next(iter(here.job_objects.values()))))
        result: builders.Object = document["inputs"]["hyperparameters"]
        return result

    assert hyperparameters()["epochs"] == 3
    assert "epochs" not in hyperparameters(maxSteps=10)


def test_a_run_that_the_model_refuses_is_told_and_not_thrown() -> None:
    run = builders.run()
    run["spec"]["hyperparameters"] = {"learningRate": "fast"}
    here = world(run)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "InvalidSpec"
    assert "learningRate" in here.condition("Ready")["message"]


def test_a_run_that_is_being_deleted_is_left_alone() -> None:
    here = world()
    here.stored["metadata"]["deletionTimestamp"] = builders.CREATED
    here.history = [here.stored]
    plan = here.reconcile()
    assert (plan.status, plan.create, plan.delete) == (None, (), ())
