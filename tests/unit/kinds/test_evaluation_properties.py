"""Any order of events, stale views, a crash between any two writes: what an Evaluation promises holds."""

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stagecoach.kinds.evaluation.attempts import MAX_INTERRUPTIONS
from stagecoach.kinds.evaluation.reconcile import CONTROLLER
from stagecoach.kinds.evaluation.rest import rests
from stagecoach.kinds.plan import Plan
from tests import builders
from tests.unit.kinds.gates import evaluation, world
from tests.unit.kinds.world import SETTINGS, lasting

EVALUATION = evaluation()
RETRIES = EVALUATION["spec"]["retries"]
PASSED_WITH_A_FAILURE = builders.evaluation_report(
    results=builders.evaluation_report("Failed")["evaluation"]["results"]
)
REPORTS = st.sampled_from(
    [
        *((builders.evaluation_report(verdict), 0, "Completed") for verdict in ("Passed", "Failed", "Error")),
        (PASSED_WITH_A_FAILURE, 0, "Completed"),
        (builders.evaluation_report(leaked=1), 0, "Completed"),
        ({"outcome": "Done"}, 0, "Completed"),
        ({"outcome": "BadInput", "problem": {"reason": "InputChanged", "message": "It is wrong."}}, 64, "Error"),
        ({"outcome": "ServiceFailed", "problem": {"reason": "DiskFull", "message": "No space."}}, 69, "Error"),
        ({"outcome": "Failed"}, 70, "Error"),
        (None, 137, "OOMKilled"),
        (None, 1, "Error"),
        ({"outcome": "Terminated"}, 70, "Error"),
        (None, 0, "Completed"),
        ({"outcome": "Splendid"}, 0, "Completed"),
    ]
)


class Evaluations(RuleBasedStateMachine):
    """An Evaluation, its project, its Jobs, and everything that can happen to them."""

    queue: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.world = world(EVALUATION, self.project())
        self.removed: set[str] = set()

    def project(self) -> builders.Object:
        """Return the project, with the queue of this machine."""
        project = builders.ready_project()
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

    @rule(admitted=st.booleans())
    def the_queue_admits_or_evicts(self, admitted: bool) -> None:
        self.world.admit(admitted)

    @rule(data=st.data())
    @precondition(lambda self: self.world.job_objects)
    def somebody_deletes_a_job(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.job_objects)))
        self.removed.add(name)
        self.world.remove_job(name)

    @rule(there=st.booleans(), length=st.sampled_from([128, 64]))
    def the_project_comes_and_goes(self, there: bool, length: int) -> None:
        self.world.project = self.project() if there else None
        if self.world.project:
            self.world.project["spec"]["tokenization"]["maxLength"] = length

    @rule()
    @precondition(lambda self: self.world.status)
    def a_problem_is_shown(self) -> None:
        self.world.show_problem()

    @rule(seconds=st.sampled_from([1, 30, 700, 10_000]))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)

    @invariant()
    def watches_bring_what_happened(self) -> None:
        self.world.note()

    @invariant()
    def every_failure_speaks(self) -> None:
        """EveryFailureSpeaks: why, and what to do about it."""
        self.world.check_every_failure_speaks()
        self.world.check_what_others_read(goes_on=("Pending", "Running"), needs_somebody="Decided")

    @invariant()
    def the_verdict_is_final(self) -> None:
        """VerdictIsFinal: what was decided once is what every later status says."""
        decided = [version["status"] for version in self.world.history if "verdict" in version.get("status", {})]
        assert all(lasting(status) == lasting(decided[0]) for status in decided)
        assert all(status["phase"] == "Decided" and "completionTime" in status for status in decided)

    @invariant()
    def passed_is_what_an_evaluator_said_of_all_criteria(self) -> None:
        """VerdictIsFinal: and it is that of the evaluator, never made up."""
        if self.world.status.get("verdict") == "Passed":
            assert [item["outcome"] for item in self.world.status["results"]] == ["Passed"]
            assert self.world.status["leaked"] == 0
            assert self.world.status["report"]["digest"] == builders.digest("c")

    @invariant()
    def nothing_twice(self) -> None:
        """NothingTwice: one attempt is one Job, made once."""
        attempt = self.world.status.get("attempt", {})
        current = {attempt["job"]} if attempt and "end" not in attempt else set()
        ended = self.world.intended() - current
        for name, count in self.world.creations.items():
            assert count == 1 or name in self.removed | ended, f"Job {name} was made {count} times"
            in_time = count - self.world.late_creations[name]
            assert in_time <= 1 or name in self.removed, f"Job {name} was made {in_time} times by who knew better"

    @invariant()
    def attempts_are_bounded_and_counted(self) -> None:
        status = self.world.status
        assert status.get("failures", 0) <= RETRIES + 1
        assert status.get("interruptions", 0) <= MAX_INTERRUPTIONS + 1
        seconds = [version.get("status", {}).get("seconds", 0) for version in self.world.history]
        assert seconds == sorted(seconds)

    @invariant()
    def what_rests_has_nothing_to_be_done(self) -> None:
        world = self.world
        if rests(world, world.stored):
            plan = CONTROLLER.reconcile(world, copy.deepcopy(world.stored), world.now, SETTINGS)
            assert plan in (Plan(), Plan(status=world.status))

    def teardown(self) -> None:
        """NothingStuck: when the accidents stop, there is a verdict, and then nothing is left running."""
        world = self.world
        world.project = self.project()
        for _ in range(30):
            world.reconcile()
            world.admit(True)
            world.start_pods()
            world.run_pods()
            world.reconcile()
            world.end_pods(builders.evaluation_report())
            world.reconcile()
            world.wait(400)
        assert world.status["phase"] == "Decided"
        assert world.condition("Ready")["reason"] == world.condition("Complete")["reason"]
        assert not world.live_pods()
        writes = world.status_writes
        world.reconcile()
        assert world.status_writes == writes, "an Evaluation that is decided is written no more"
        assert rests(world, world.stored)


class QueuedEvaluations(Evaluations):
    """The same with a queue that decides when a Job has a pod."""

    queue = "gpu"

    @rule()
    def the_queue_takes_back_and_gives_time(self) -> None:
        self.world.take_back()

    @invariant()
    def only_the_queue_releases(self) -> None:
        assert all("suspend" in job["spec"] for job in self.world.job_objects.values())


TestEvaluations = Evaluations.TestCase
TestEvaluations.settings = settings(max_examples=100, stateful_step_count=40, derandomize=True)
TestQueuedEvaluations = QueuedEvaluations.TestCase
TestQueuedEvaluations.settings = settings(max_examples=50, stateful_step_count=40, derandomize=True)
