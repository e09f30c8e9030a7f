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
    variable, *_ = job["spec"]["template"]["spec"]["containers"][0]["env"]
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


@pytest.mark.parametrize(
    ("reported", "shown"),
    [({"trainLoss": 0.7, "evalLoss": 0.5}, 0.5), ({"trainLoss": 0.7, "evalLoss": None}, 0.7), ({"evalLoss": 0.0}, 0.0)],
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


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_job_that_a_person_copied_is_left_alone(succeeds: bool) -> None:
    here = world(builders.run(retries=0))
    start(here)
    [(job, original)] = here.job_objects.items()
    copied = copy.deepcopy(original)
    copied["metadata"]["name"] = f"{job}-debug"
    here.job_objects[f"{job}-debug"] = copied
    if succeeds:
        here.end_pods(builders.artifact_report())
    else:
        here.end_pods(SERVICE_FAILED, 69, "Error")
    for _ in range(2):
        here.reconcile()
    assert here.status["phase"] == ("Succeeded" if succeeds else "Failed")
    assert f"{job}-debug" in here.job_objects


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


def test_interruptions_that_get_on_are_never_too_many() -> None:
    here = world(builders.run(retries=0))
    for step in range(1, 15):
        preempt(here, 10 * step)
        assert here.condition("Ready")["reason"] == "Retrying"
    start(here)
    assert numbers(here) == list(range(6, 16)), "the oldest are dropped"
    totals = here.status["totals"]
    assert (totals["failures"], totals["interruptions"], totals["checkpoint"]) == (0, 14, 140)
    assert [attempt.get("checkpoint") for attempt in here.status["attempts"][-3:]] == [130, 140, None]
    assert [attempt["counted"] for attempt in here.status["attempts"][:-1]] == [False] * 9
    here.end_pods(builders.artifact_report())
    here.reconcile()
    assert here.status["phase"] == "Succeeded"


def test_three_interruptions_without_a_newer_checkpoint_are_too_many() -> None:
    here = world(builders.run(retries=5))
    preempt(here, 10)
    lose(here)
    preempt(here, 10)
    assert here.condition("Ready")["reason"] == "Retrying"
    lose(here)
    assert here.status["phase"] == "Failed"
    assert here.condition("Ready")["reason"] == "NoProgress"
    assert (
        "3 interruptions in a row left no newer checkpoint than that of step 10" in here.condition("Ready")["message"]
    )


def test_a_checkpoint_that_only_progress_told_of_counts() -> None:
    here = world()
    for step in (10, 20, 30, 40):
        here.checkpoint = step
        lose(here)
    assert here.status["totals"]["idleInterruptions"] == 0
    assert here.status["attempts"][-1]["checkpoint"] == 40


def test_failures_count_though_their_attempts_are_no_longer_listed() -> None:
    here = world(builders.run(retries=1))
    start(here)
    fail(here, SERVICE_FAILED)
    here.wait(400)
    for step in range(1, 13):
        preempt(here, step)
    start(here)
    assert numbers(here)[0] > 1
    fail(here, SERVICE_FAILED)
    assert "All 1 retries are used up" in here.condition("Ready")["message"]


def test_a_job_of_an_attempt_that_is_no_longer_listed_is_deleted_at_sight() -> None:
    here = world()
    start(here)
    [late] = copy.deepcopy(list(here.job_objects.values()))
    here.end_pods({"outcome": "Preempted", "checkpoint": 1}, 75, "Error")
    here.reconcile()
    here.wait(400)
    for step in range(2, 14):
        preempt(here, step)
    start(here)
    name = late["metadata"]["name"]
    here.remove_job(name)
    here.job_objects[name] = late
    here.reconcile()
    assert name not in here.job_objects


def test_the_time_of_attempts_that_are_no_longer_listed_counts() -> None:
    here = world(builders.run(maxDuration="2h"))
    for step in range(1, 13):
        start(here)
        here.wait(400)
        here.end_pods({"outcome": "Preempted", "checkpoint": step}, 75, "Error")
        here.reconcile()
        here.wait(20)
    assert here.status["totals"]["seconds"] == 12 * 400
    start(here)
    job = list(here.job_objects.values())[-1]
    assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 7200 - 4800


def test_a_pod_that_is_taken_away_may_save_itself_before_the_next_attempt() -> None:
    here = world()
    start(here)
    [pod] = here.pod_objects.values()
    pod["metadata"]["deletionTimestamp"] = here.now.isoformat()
    assert here.reconcile().requeue_after == 30
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Running", "Stopping")
    here.end_pods({"outcome": "Preempted", "checkpoint": 7}, 75, "Error")
    here.reconcile()
    assert here.status["attempts"][0]["outcome"] == "Preempted"
    assert "saved a checkpoint at step 7" in here.condition("Ready")["message"]


def test_suspending_stops_and_resuming_goes_on() -> None:
    here = world()
    start(here)
    here.checkpoint = 12
    here.wait(100)
    here.set_spec(suspend=True)
    plan = here.reconcile()
    assert [event.reason for event in plan.events] == ["Suspended"]
    assert here.status["phase"] == "Suspended"
    assert here.condition("Ready")["reason"] == "Suspended"
    assert "saves a checkpoint before it ends, and the next attempt goes on" in here.condition("Ready")["message"]
    assert not here.condition("Stalled")
    attempt = here.status["attempts"][0]
    assert (attempt["outcome"], attempt["counted"], attempt["checkpoint"]) == ("Suspended", False, 12)
    pods = dict(here.pod_objects)
    here.reconcile()
    assert not here.job_objects, "the Job is deleted once the end stands in the status"
    writes = here.status_writes
    here.wait(100_000)
    here.reconcile()
    assert here.status_writes == writes
    here.pod_objects = pods  # its grace period is long
    here.set_spec(suspend=False)
    here.wait(-100_000)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Stopping"
    here.pod_objects = {}
    plan = here.reconcile()
    told = [(event.reason, event.message) for event in plan.events]
    assert told == [("Resumed", "Attempt 2 goes on from the newest checkpoint, of step 12 or later.")]
    start(here)
    assert here.status["phase"] == "Running"
    assert numbers(here) == [1, 2]
    assert here.status["totals"]["seconds"] == 100
    assert here.status["totals"]["idleInterruptions"] == 0


def test_a_run_made_suspended_starts_nothing() -> None:
    here = world(builders.run(suspend=True))
    start(here)
    assert here.status["phase"] == "Suspended"
    assert "inputs" not in here.status
    assert not here.job_objects
    here.set_spec(suspend=False)
    start(here)
    assert here.status["phase"] == "Running"


def test_a_run_that_ended_before_it_was_suspended_has_succeeded() -> None:
    here = world()
    start(here)
    here.end_pods(builders.artifact_report())
    here.set_spec(suspend=True)
    here.reconcile()
    assert here.status["phase"] == "Succeeded"


def test_a_retry_waits_while_the_run_is_suspended() -> None:
    here = world()
    start(here)
    fail(here, SERVICE_FAILED)
    here.set_spec(suspend=True)
    here.reconcile()
    here.wait(1000)
    here.reconcile()
    assert here.status["phase"] == "Suspended"
    assert numbers(here) == [1]
    here.set_spec(suspend=False)
    start(here)
    assert numbers(here) == [1, 2]


def queued() -> World:
    project = builders.ready_project()
    project["spec"]["pods"] = {"queue": "gpu"}
    here = world(project=project, run=builders.run(maxDuration="1h"))
    start(here)
    return here


def test_with_a_queue_the_job_waits_to_be_admitted() -> None:
    here = queued()
    [job] = here.job_objects.values()
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu"
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Queued", "WaitingForQueue")
    assert "'gpu'" in here.condition("Ready")["message"]
    here.admit(True)
    start(here)
    assert here.status["phase"] == "Running"


def test_a_job_that_its_queue_takes_back_goes_on_as_the_same_attempt() -> None:
    here = queued()
    here.admit(True)
    start(here)
    here.checkpoint = 5
    here.reconcile()
    here.checkpoint = None  # forgotten with the pod
    here.wait(1000)
    here.admit(False)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "WaitingForQueue"
    here.wait(50_000)
    here.admit(True)
    start(here)
    [attempt] = here.status["attempts"]
    assert "end" not in attempt
    assert here.status["phase"] == "Running"
    assert (here.status["totals"]["seconds"], here.status["totals"]["checkpoint"]) == (1000, 5)
    # The new pod has the deadline of the first: the operator holds maxDuration.
    here.wait(2600)
    here.reconcile()
    assert here.status["phase"] == "Running"
    here.wait(200)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "DeadlineExceeded"
    here.reconcile()
    assert not here.job_objects


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
