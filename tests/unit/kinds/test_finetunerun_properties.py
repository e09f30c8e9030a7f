"""Any order of events, a stale view, a crash between any two writes: what a FineTuneRun promises holds."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from tests import builders
from tests.unit.kinds.world import TERMINAL, World

RETRIES = 2

REPORTS = st.sampled_from(
    [
        (builders.artifact_report(), 0, "Completed"),
        ({"outcome": "Done"}, 0, "Completed"),
        ({"outcome": "BadInput", "problem": {"reason": "UnknownColumn", "message": "It is wrong."}}, 64, "Error"),
        ({"outcome": "ServiceFailed", "problem": {"reason": "DiskFull", "message": "No space."}}, 69, "Error"),
        ({"outcome": "Failed"}, 70, "Error"),
        (None, 137, "OOMKilled"),
        (None, 1, "Error"),
        (None, 0, "Completed"),
    ]
)


class FineTuneRuns(RuleBasedStateMachine):
    """A run, its project, its Jobs, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        run = builders.stored(builders.run(retries=RETRIES))
        self.world = World(CONTROLLER, run, builders.ready_project(records=True))
        self.removed: set[str] = set()

    @rule(age=st.integers(0, 3), writes=st.integers(0, 4))
    def the_operator_looks_and_may_crash(self, age: int, writes: int) -> None:
        self.world.reconcile(age, writes)

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

    @rule(data=st.data())
    @precondition(lambda self: self.world.job_objects)
    def somebody_deletes_a_job(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.job_objects)))
        self.removed.add(name)
        self.world.remove_job(name)

    @rule(there=st.booleans(), records=st.booleans())
    def the_project_comes_and_goes(self, there: bool, records: bool) -> None:
        self.world.project = builders.ready_project(records) if there else None

    @rule(seconds=st.sampled_from([1, 30, 700, 100_000]))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)

    @invariant()
    def every_failure_speaks(self) -> None:
        self.world.check_every_failure_speaks()

    @invariant()
    def nothing_twice(self) -> None:
        ended = {attempt["job"] for attempt in self.world.status.get("attempts", []) if attempt.get("end")}
        for name, count in self.world.creations.items():
            assert count == 1 or name in self.removed | ended, f"Job {name} was made {count} times"
        trained = [item for item in self.world.status.get("attempts", []) if item["intent"] == "Train"]
        assert len(trained) <= RETRIES + 1
        assert sum("end" not in item for item in self.world.status.get("attempts", [])) <= 1

    @invariant()
    def inputs_never_change(self) -> None:
        fixed = [version["status"]["inputs"] for version in self.world.history if "inputs" in version.get("status", {})]
        assert all(inputs == fixed[0] for inputs in fixed)

    def teardown(self) -> None:
        """Nothing is stuck: when the accidents stop, the run comes to an end, and then nothing is left running."""
        world = self.world
        world.project = builders.ready_project()
        for _ in range(40):
            world.reconcile()
            world.start_pods()
            world.run_pods()
            world.reconcile()
            world.end_pods(builders.artifact_report())
            world.wait(400)
        assert world.status["phase"] in TERMINAL
        assert not world.live_pods()
        writes = world.status_writes
        world.reconcile()
        assert world.status_writes == writes, "a run that has ended is written no more"


TestFineTuneRuns = FineTuneRuns.TestCase
TestFineTuneRuns.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
