"""A run whose pod is taken away, that is suspended, or that waits in a queue."""

from stagecoach.policies.pods import JOB_NAME
from tests import builders
from tests.unit.kinds.test_finetunerun import SERVICE_FAILED, fail, lose, numbers, preempt, start, world
from tests.unit.kinds.world import World


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


def evict_before_it_runs(here: World) -> None:
    """Take the pod of the next attempt away while its image is pulled."""
    here.reconcile()
    here.reconcile()
    here.start_pods()
    here.reconcile()
    for pod in here.live_pods():
        pod["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
        here.finish_job(pod["metadata"]["labels"][JOB_NAME], "Failed")
    here.reconcile()


def test_pods_that_are_taken_away_before_they_run_end_no_run() -> None:
    here = world(builders.run(retries=0))
    preempt(here, 9000)
    lose(here)
    waits = []
    for _ in range(12):
        evict_before_it_runs(here)
        ready = here.condition("Ready")
        assert (here.status["phase"], ready["reason"]) == ("Queued", "Retrying")
        waits.append(here.reconcile().requeue_after)
        here.wait(waits[-1] or 0)
    assert waits[:4] == [20, 40, 80, 160]
    assert set(waits[5:]) == {300}
    assert counted(here) == (0, 14, 1)
    assert "The pods of the last 10 attempts were taken away before they ran. See to the nodes" in ready["message"]
    start(here)
    assert here.status["phase"] == "Running"


def test_of_pods_that_never_run_no_more_are_kept_than_are_listed() -> None:
    here = world(builders.run(retries=0))
    preempt(here, 9000)
    trained = set(here.job_objects)
    for _ in range(30):
        evict_before_it_runs(here)
        here.wait(here.reconcile().requeue_after or 0)
    listed = {attempt["job"] for attempt in here.status["attempts"]}
    assert set(here.job_objects) == set(here.pod_objects) == trained | listed, "what ran keeps its logs"


def test_the_name_of_a_job_protects_for_minutes() -> None:
    here = world(builders.run(retries=0))
    for _ in range(12):
        evict_before_it_runs(here)
        here.set_spec(suspend=True)
        here.reconcile()
        here.set_spec(suspend=False)
        here.reconcile()
    assert len(here.job_objects) == 12
    here.wait(600)
    evict_before_it_runs(here)
    assert len(here.job_objects) < 12


def test_only_pods_that_ran_leave_no_checkpoint() -> None:
    here = world()
    preempt(here, 9000)
    lose(here)
    evict_before_it_runs(here)
    here.wait(400)
    lose(here)
    assert "everySteps" not in here.condition("Ready")["message"]
    evict_before_it_runs(here)
    assert "Nothing to do" in here.condition("Ready")["message"]
    here.wait(400)
    lose(here)
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Failed", "NoProgress")
    assert (
        "3 interruptions in a row left no newer checkpoint than that of step 9000" in here.condition("Ready")["message"]
    )


def test_a_checkpoint_that_only_progress_told_of_counts() -> None:
    here = world()
    for step in (10, 20, 30, 40):
        here.checkpoint = step
        lose(here)
    assert here.status["totals"]["idleInterruptions"] == 0
    assert here.status["attempts"][-1]["checkpoint"] == 40


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
    assert (here.status["totals"]["interruptions"], here.status["totals"]["idleInterruptions"]) == (1, 0)
    # The new pod has the deadline of the first: the operator holds maxDuration.
    here.wait(2600)
    here.reconcile()
    assert here.status["phase"] == "Running"
    here.wait(200)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "DeadlineExceeded"
    here.reconcile()
    assert not here.job_objects


def take_back(here: World) -> None:
    """Let the queue admit the Job, and suspend it while its pod runs."""
    here.admit(True)
    start(here)
    assert here.status["phase"] == "Running"
    here.wait(100)
    here.admit(False)
    here.reconcile()


def counted(here: World) -> tuple[int, int, int]:
    totals = here.status["totals"]
    return totals["failures"], totals["interruptions"], totals["idleInterruptions"]


def test_what_a_queue_takes_back_again_and_again_before_a_checkpoint_gives_up() -> None:
    here = queued()
    for number in (1, 2):
        take_back(here)
        assert here.condition("Ready")["reason"] == "WaitingForQueue"
        assert counted(here) == (0, number, number)
        here.reconcile()
        assert counted(here) == (0, number, number), "once"
    take_back(here)
    assert (here.status["phase"], here.condition("Ready")["reason"]) == ("Failed", "NoProgress")
    words = "was suspended while its pod ran. 3 interruptions in a row left no newer checkpoint at all."
    assert words in here.condition("Ready")["message"]
    [attempt] = here.status["attempts"]
    assert (attempt["outcome"], attempt["counted"]) == ("PodLost", False)
    assert (*counted(here), here.status["totals"]["seconds"]) == (0, 3, 3, 300)
    here.reconcile()
    assert not here.job_objects


def test_what_a_queue_takes_back_and_gets_on_is_never_too_much() -> None:
    here = queued()
    for step in range(10, 60, 10):
        here.checkpoint = step
        take_back(here)
    assert here.condition("Ready")["reason"] == "WaitingForQueue"
    assert counted(here) == (0, 5, 0)


def saves(here: World, step: int) -> None:
    here.end_pods({"outcome": "Preempted", "checkpoint": step}, 75, "Error")


def test_what_a_pod_saved_counts_though_its_job_was_released_before_it_had_ended() -> None:
    here = queued()
    for number in range(1, 6):
        here.admit(True)
        start(here)
        here.wait(100)
        here.take_back()
        here.admit(True)
        saves(here, 10 * number)
        here.reconcile()
        assert counted(here)[1:] == (number - 1, 0) if number > 1 else "totals" not in here.status, (
            "nothing is over yet"
        )
        here.start_pods()
        here.reconcile()
        assert counted(here) == (0, number, 0)
        assert here.status["totals"]["checkpoint"] == 10 * number


def test_what_was_told_counts_though_the_pod_s_last_words_are_lost() -> None:
    here = world(project=builders.ready_project())
    for number in range(1, 6):
        start(here)
        here.checkpoint = 10 * number
        here.reconcile()
        here.checkpoint = None
        here.wait(40)
        here.lose_pods()
        here.reconcile()  # the pod is looked for
        here.wait(100)
        here.reconcile()
        assert counted(here) == (0, number, 0)
        here.wait(400)
        here.reconcile()


def test_what_a_pod_said_last_counts_though_it_is_gone_before_it_had_ended_as_a_whole() -> None:
    here = world(project=builders.ready_project())
    for number in range(1, 5):
        start(here)
        here.tell_pods_to_go()
        saves(here, 10 * number)
        for pod in here.pod_objects.values():
            pod["status"]["phase"] = "Running"  # its kubelet says so a moment later
        here.job_objects[here.status["attempts"][-1]["job"]].pop("status")
        here.reconcile()
        assert here.status["attempts"][-1]["checkpoint"] == 10 * number
        here.lose_pods()
        here.wait(100)
        here.reconcile()
        assert counted(here) == (0, number, 0)
        here.wait(400)
        here.reconcile()


def test_time_in_which_nobody_looked_and_no_pod_ran_is_not_the_run_s() -> None:
    here = queued()
    here.admit(True)
    start(here)
    here.wait(100)
    here.admit(False)
    suspended = {"type": "Suspended", "status": "True", "lastTransitionTime": here.now.isoformat()}
    [job] = here.job_objects.values()
    job["status"] = {"conditions": [suspended]}
    here.wait(50_000)
    here.reconcile()
    assert here.condition("Ready")["reason"] == "WaitingForQueue"
    assert here.status["totals"]["seconds"] == 100


def test_a_pod_that_was_lost_long_ago_did_not_run_since() -> None:
    here = world(project=builders.ready_project())
    start(here)
    here.wait(100)
    here.lose_pods()
    here.wait(50_000)
    here.reconcile()
    [attempt] = here.status["attempts"]
    assert (attempt["outcome"], here.status["totals"]["seconds"]) == ("PodLost", 100)


def test_what_a_queue_takes_back_is_told() -> None:
    here = queued()
    here.admit(True)
    start(here)
    here.take_back()
    saves(here, 40)
    plan = here.reconcile()
    [event] = plan.events
    assert (event.reason, event.warning) == ("WaitingForQueue", False)
    assert event.message.endswith("interruption 1 of this run, which goes on from step 40 or later.")


def test_a_queue_and_others_interrupt_alike() -> None:
    here = queued()
    take_back(here)
    take_back(here)
    here.admit(True)
    lose(here)
    assert here.condition("Ready")["reason"] == "NoProgress"


def test_what_a_queue_takes_back_before_it_ran_was_not_interrupted() -> None:
    here = queued()
    for _ in range(5):
        here.admit(True)
        here.start_pods()
        here.reconcile()
        here.admit(False)
        here.reconcile()
    assert here.condition("Ready")["reason"] == "WaitingForQueue"
    assert "totals" not in here.status


def test_a_job_that_was_suspended_and_released_unseen_has_another_pod() -> None:
    here = queued()
    here.admit(True)
    start(here)
    here.wait(100)
    here.admit(False)
    here.admit(True)
    here.reconcile()
    here.start_pods()
    here.reconcile()
    assert here.condition("Ready")["reason"] == "Starting"
    assert counted(here) == (0, 1, 1)
    here.reconcile()
    assert counted(here) == (0, 1, 1), "once"
    assert "start" not in here.status["attempts"][0]
    here.run_pods()
    here.reconcile()
    assert here.status["phase"] == "Running"
    assert here.status["totals"]["seconds"] == 100
