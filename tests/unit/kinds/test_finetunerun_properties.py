"""Any order of events, stale views, a crash between any two writes: what a FineTuneRun promises holds."""

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from stagecoach.kinds.finetunerun.rest import rests
from stagecoach.kinds.plan import Plan
from stagecoach.policies.pods import INDEX
from tests import builders
from tests.unit.kinds.world import SETTINGS, TERMINAL, World, artifact_of

RETRIES = 2
CHECKPOINT_STEPS = st.integers(1, 30)

REPORTS = st.sampled_from(
    [
        (builders.artifact_report(), 0, "Completed"),
        ({"outcome": "Done"}, 0, "Completed"),
        ({"outcome": "BadInput", "problem": {"reason": "UnknownColumn", "message": "It is wrong."}}, 64, "Error"),
        ({"outcome": "ServiceFailed", "problem": {"reason": "DiskFull", "message": "No space."}}, 69, "Error"),
        ({"outcome": "Failed"}, 70, "Error"),
        (None, 137, "OOMKilled"),
        (None, 1, "Error"),
        ({"outcome": "Terminated"}, 70, "Error"),
        (None, 0, "Completed"),
        ({"outcome": "Splendid"}, 0, "Completed"),
    ]
)


class FineTuneRuns(RuleBasedStateMachine):
    """A run, its project, its Jobs, and everything that can happen to them."""

    queue: str | None = None
    nodes = 1

    def __init__(self) -> None:
        super().__init__()
        run = builders.stored(builders.run(retries=RETRIES, resources={"nodes": self.nodes}))
        self.world = World(CONTROLLER, run, self.project())
        self.removed: set[str] = set()

    def project(self, records: bool = True) -> builders.Object:
        """Return the project, with the queue of this machine."""
        project = builders.ready_project(records)
        project["spec"]["pods"] = {"queue": self.queue} if self.queue else {}
        return project

    @rule(age=st.integers(0, 3), writes=st.integers(0, 4), jobs_lag=st.integers(0, 4), pods_lag=st.integers(0, 4))
    def the_operator_looks_and_may_crash(self, age: int, writes: int, jobs_lag: int, pods_lag: int) -> None:
        """StaleWriterHarmless: so does a former leader, which knows an older version, and all else here holds."""
        self.world.reconcile(age, writes, jobs_lag, pods_lag)

    @rule()
    def a_pod_is_made(self) -> None:
        self.world.start_pods()

    @rule()
    def a_pod_runs(self) -> None:
        self.world.run_pods()

    @rule(end=REPORTS)
    def a_pod_ends(self, end: tuple[builders.Object | None, int, str]) -> None:
        self.world.end_pods(*end)

    @rule()
    def a_node_goes(self) -> None:
        self.world.lose_pods()

    @rule()
    def a_pod_is_told_to_go(self) -> None:
        self.world.tell_pods_to_go()

    @rule(step=CHECKPOINT_STEPS)
    def a_pod_is_preempted_and_saves_itself(self, step: int) -> None:
        self.world.end_pods({"outcome": "Preempted", "checkpoint": step}, 75, "Error")

    @rule(step=CHECKPOINT_STEPS)
    def a_pod_tells_of_a_checkpoint(self, step: int) -> None:
        self.world.checkpoint = step

    @rule(suspend=st.booleans())
    def somebody_suspends_or_resumes(self, suspend: bool) -> None:
        self.world.set_spec(suspend=suspend)

    @rule(admitted=st.booleans())
    def the_queue_admits_or_evicts(self, admitted: bool) -> None:
        self.world.admit(admitted)

    @rule(data=st.data())
    @precondition(lambda self: self.world.job_objects)
    def somebody_deletes_a_job(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.job_objects)))
        self.removed.add(name)
        self.world.remove_job(name)

    @rule(there=st.booleans(), records=st.booleans())
    def the_project_comes_and_goes(self, there: bool, records: bool) -> None:
        self.world.project = self.project(records) if there else None

    @rule()
    @precondition(lambda self: self.world.status)
    def a_problem_is_shown(self) -> None:
        self.world.show_problem()

    @rule(seconds=st.sampled_from([1, 30, 700, 100_000]))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)

    @invariant()
    def watches_bring_what_happened(self) -> None:
        self.world.note()

    @invariant()
    def every_failure_speaks(self) -> None:
        """EveryFailureSpeaks: why, and what to do about it."""
        self.world.check_every_failure_speaks()

    @invariant()
    def others_read_how_it_is(self) -> None:
        self.world.check_what_others_read(("Blocked", "Queued", "Running"), "Failed")

    @invariant()
    def nothing_twice(self) -> None:
        """NothingTwice: one attempt is one Job, made once, and one at a time."""
        attempts = self.world.status.get("attempts", [])
        current = {attempt["job"] for attempt in attempts if not attempt.get("end")}
        ended = self.world.intended() - current
        for name, count in self.world.creations.items():
            assert count == 1 or name in self.removed | ended, f"Job {name} was made {count} times"
            in_time = count - self.world.late_creations[name]
            assert in_time <= 1 or name in self.removed, f"Job {name} was made {in_time} times by who knew better"
        assert len(current) <= 1
        assert current <= {attempts[-1]["job"]} if attempts else not current

    @invariant()
    def a_pod_that_is_there_is_not_taken_for_gone(self) -> None:
        for attempt in self.world.status.get("attempts", []):
            job = attempt["job"]
            again = job in self.removed or self.world.late_creations[job]
            if attempt.get("message", "").startswith("The pod of Job") and not again:
                assert not {job, f"{job}-0"} & self.world.pod_objects.keys()

    @invariant()
    def attempts_are_bounded_and_counted(self) -> None:
        attempts, totals = self.world.status.get("attempts", []), self.world.status.get("totals", {})
        assert len(attempts) <= 10
        numbers = [attempt["number"] for attempt in attempts]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
        listed = sum(attempt.get("counted", False) for attempt in attempts)
        assert listed <= totals.get("failures", 0) <= RETRIES + 1
        assert totals.get("idleInterruptions", 0) < 3 or self.world.status["phase"] == "Failed"
        ended = [item.get("checkpoint", 0) for item in attempts if item.get("end")]
        assert totals.get("checkpoint", 0) >= max(ended, default=0)

    @invariant()
    def nothing_runs_that_is_suspended(self) -> None:
        suspended = self.world.stored["spec"].get("suspend") and self.world.status.get("phase") == "Suspended"
        assert not suspended or all("end" in item for item in self.world.status.get("attempts", []))

    @invariant()
    def time_is_not_lost(self) -> None:
        seconds = [version.get("status", {}).get("totals", {}).get("seconds", 0) for version in self.world.history]
        assert seconds == sorted(seconds)

    @invariant()
    def inputs_never_change(self) -> None:
        """FrozenInputs: what was fixed once is what every later status says."""
        fixed = [version["status"]["inputs"] for version in self.world.history if "inputs" in version.get("status", {})]
        assert all(inputs == fixed[0] for inputs in fixed)

    @invariant()
    def what_rests_has_nothing_to_be_done(self) -> None:
        world = self.world
        if rests(world, world.stored):
            plan = CONTROLLER.reconcile(world, copy.deepcopy(world.stored), world.now, SETTINGS)
            assert plan in (Plan(), Plan(status=world.status))

    def teardown(self) -> None:
        """NothingStuck: when the accidents stop, the run comes to an end, and then nothing is left running."""
        world = self.world
        world.project = self.project(records=False)
        world.set_spec(suspend=False)
        world.modes = ("ReadWriteMany",)
        for _ in range(40):
            world.reconcile()
            world.admit(True)
            world.start_pods()
            world.run_pods()
            world.reconcile()
            world.end_pods(builders.artifact_report())
            world.reconcile()
            if world.condition("Ready")["reason"] == "ReportUnknown":
                world.remove_job(world.status["attempts"][-1]["job"])  # as its time to live does
            world.wait(400)
        assert world.status["phase"] in TERMINAL
        assert world.condition("Ready")["reason"] == world.condition("Complete")["reason"]
        assert world.status["observedGeneration"] == world.stored["metadata"]["generation"]
        assert not world.live_pods()
        world.reconcile()
        assert not world.service_objects
        writes = world.status_writes
        world.reconcile()
        assert world.status_writes == writes, "a run that has ended is written no more"
        assert rests(world, world.stored)


class QueuedFineTuneRuns(FineTuneRuns):
    """The same with a queue that decides when a Job has a pod."""

    queue = "gpu"

    @rule()
    def the_queue_takes_back_and_gives_time(self) -> None:
        self.world.take_back()

    @invariant()
    def only_the_queue_releases(self) -> None:
        assert all("suspend" in job["spec"] for job in self.world.job_objects.values())


class FineTuneRunsOnNodes(FineTuneRuns):
    """The same with two pods to an attempt, to each of which something may happen."""

    nodes = 2

    def pods_of_index(self, index: int) -> list[builders.Object]:
        """Return the pods of an index that have not ended."""
        return [pod for pod in self.world.live_pods() if pod["metadata"]["labels"].get(INDEX, "0") == str(index)]

    @rule(index=st.integers(0, 1), end=REPORTS)
    def one_of_the_pods_ends(self, index: int, end: tuple[builders.Object | None, int, str]) -> None:
        for pod in self.pods_of_index(index):
            self.world.end_pod(pod, *end)

    @rule(index=st.integers(0, 1))
    def one_of_the_pods_misses_the_other(self, index: int) -> None:
        lost = {"outcome": "PeerLost", "problem": {"reason": "PeerLost", "message": "It is gone."}}
        for pod in self.pods_of_index(index):
            self.world.end_pod(pod, lost, 70, "Error")

    @rule(index=st.integers(0, 1))
    def one_of_the_pods_is_told_to_go(self, index: int) -> None:
        for pod in self.pods_of_index(index):
            pod["metadata"].setdefault("deletionTimestamp", self.world.now.isoformat())

    @rule(data=st.data())
    @precondition(lambda self: self.world.pod_objects)
    def one_of_the_nodes_goes(self, data: st.DataObject) -> None:
        self.world.lose_pod(data.draw(st.sampled_from(sorted(self.world.pod_objects))))

    @rule(many=st.booleans())
    def the_claim_is_made_anew(self, many: bool) -> None:
        self.world.modes = ("ReadWriteMany",) if many else ("ReadWriteOnce",)

    @invariant()
    def pods_that_train_have_names(self) -> None:
        trainings = [job for job in self.world.job_objects.values() if job["spec"].get("completions") == 2]
        over = self.world.status.get("phase") in TERMINAL
        assert over or not trainings or self.world.service_objects

    @invariant()
    def success_is_that_of_the_first_pod(self) -> None:
        if self.world.status.get("phase") == "Succeeded":
            assert self.world.status["artifact"]["digest"] == artifact_of("0")


TestFineTuneRuns = FineTuneRuns.TestCase
TestFineTuneRuns.settings = settings(max_examples=100, stateful_step_count=50, derandomize=True)
TestQueuedFineTuneRuns = QueuedFineTuneRuns.TestCase
TestQueuedFineTuneRuns.settings = settings(max_examples=50, stateful_step_count=50, derandomize=True)
TestFineTuneRunsOnNodes = FineTuneRunsOnNodes.TestCase
TestFineTuneRunsOnNodes.settings = settings(max_examples=60, stateful_step_count=50, derandomize=True)
