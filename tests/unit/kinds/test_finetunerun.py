"""What a FineTuneRun does, case by case."""

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


SERVICE_AWAY = {"outcome": "ServiceFailed", "problem": {"reason": "EndpointUnreachable", "message": "No route."}}
SERVICE_FAILED = {"outcome": "ServiceFailed", "problem": {"reason": "StorageAway", "message": "No route."}}

LOST = {"outcome": "Terminated"}


def preempt(here: World, step: int) -> None:
    """Take the pod away, after it has saved a checkpoint of this step."""
    start(here)
    here.end_pods({"outcome": "Preempted", "checkpoint": step}, 75, "Error")
    here.reconcile()
    here.wait(400)


def lose(here: World) -> None:
    start(here)
    here.end_pods(LOST, 70, "Error")
    here.reconcile()
    here.wait(400)


def numbers(here: World) -> list[int]:
    return [attempt["number"] for attempt in here.status["attempts"]]


def env_of(job: builders.Object) -> str:
    variable, *_ = job["spec"]["template"]["spec"]["containers"][0]["env"]
    value: str = variable["value"]
    return value.replace("$$", "$")


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
    assert here.status["record"]["uri"].endswith("/record.json"), "what a trainer says that names no record has written"


@pytest.mark.parametrize("adopted", [False, True])
def test_a_record_that_is_not_the_first_of_its_inputs_is_told_by_its_name(adopted: bool) -> None:
    here = world(project=builders.ready_project(records=adopted))
    start(here)
    said = builders.artifact_report(adopted)
    said["artifact"]["recordName"] = "record.0123456789ab.json"
    here.end_pods(said)
    here.reconcile()
    inputs = here.status["inputs"]["digest"].removeprefix("sha256:")
    assert here.status["record"]["uri"] == f"pvc://store/desk/runs/{inputs}/record.0123456789ab.json"


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


@pytest.mark.parametrize(
    ("reported", "shown"),
    [
        ({"trainLoss": 0.7, "evalLoss": 0.5}, 0.5),
        ({"trainLoss": 0.7, "evalLoss": None}, 0.7),
        ({"evalLoss": 0.0}, 0.0),
        ({"evalLoss": 0.08886798471212387}, 0.08887),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_the_loss_of_a_run_that_succeeded_is_its_result(reported: dict[str, Any], shown: float, told: bool) -> None:
    here = world()
    start(here)
    if told:
        here.checkpoint, here.loss = 900, 2.5
        here.wait(100)
        here.reconcile()
        assert (here.status["loss"], here.status["progress"]["loss"]) == (2.5, 2.5)
    found = builders.artifact_report()
    found["artifact"] |= reported
    here.end_pods(found)
    here.reconcile()
    assert here.status["loss"] == shown
    if told:
        assert here.status["progress"]["percent"] == 100
        assert "loss" not in here.status["progress"], "what was logged last is of an earlier step"


def test_the_loss_of_an_adopted_run_is_that_of_the_record() -> None:
    here = world()
    start(here)
    here.end_pods(builders.artifact_report(adopted=True))
    here.reconcile()
    assert (here.status["loss"], here.status["evalLoss"]) == (0.5, 0.5)


def test_an_attempt_that_begins_anew_shows_no_loss() -> None:
    here = world()
    start(here)
    here.checkpoint, here.loss = 12, 2.5
    here.wait(100)
    here.reconcile()
    fail(here, SERVICE_FAILED)
    assert "loss" not in here.status


def test_a_run_that_asks_before_the_project_has_looked_again_waits() -> None:
    project = builders.ready_project()
    project["metadata"]["annotations"] = {"stagecoach.dev/requested-at": "now"}
    here = world(project=project)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "ProjectNotReady"


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

    assert inputs() == inputs(
        retries=5, maxDuration="1h", progressDeadline="2h", cleanUpAfter="1d", resources={"cpu": "1", "memory": "4Gi"}
    )
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


def test_how_it_saves_itself_is_no_input_and_the_best_model_is() -> None:
    def digest(**checkpoints: Any) -> str:
        here = world(builders.run(checkpoints=checkpoints) if checkpoints else None)
        here.reconcile()
        result: str = here.status["inputs"]["digest"]
        return result

    assert digest() == digest(everySteps=5, keep=9)
    assert digest() != digest(best="eval_loss")
    here = world(builders.run(checkpoints={"everySteps": 5, "keep": 9, "best": "eval_loss"}))
    start(here)
    [job] = here.job_objects.values()
    document = json.loads(env_of(job))
    assert (document["checkpoints"], document["inputs"]["best"]) == ({"everySteps": 5, "keep": 9}, "eval_loss")
    assert job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 120
