"""Any order of events, stale views, a crash between any two writes: what a TransformerProject promises holds."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stagecoach.kinds.transformerproject.reconcile import CONTROLLER
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.world import World

DONE = {"outcome": "Done", "resolution": builders.resolution()}
REPORTS = st.sampled_from(
    [
        (DONE, 0, "Completed"),
        ({"outcome": "Done"}, 0, "Completed"),
        ({"outcome": "BadInput", "problem": {"reason": "UnknownColumn", "message": "It is wrong."}}, 64, "Error"),
        ({"outcome": "ServiceFailed", "problem": {"reason": "StorageAway", "message": "No route."}}, 69, "Error"),
        (None, 137, "OOMKilled"),
        (None, 1, "Error"),
    ]
)


class TransformerProjects(RuleBasedStateMachine):
    """A project whose spec changes while its Jobs come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(CONTROLLER, builders.stored(builders.project()))

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

    @rule(length=st.sampled_from([64, 128, 256]))
    def somebody_edits_the_spec(self, length: int) -> None:
        self._edit("spec", {"tokenization": {"maxLength": length, "overflow": "Truncate"}})

    @rule(when=st.sampled_from(["monday", "tuesday"]))
    def somebody_asks_again(self, when: str) -> None:
        self._edit("metadata", {"annotations": {"stagecoach.dev/requested-at": when}})

    @rule()
    @precondition(lambda self: self.world.status)
    def a_problem_is_shown(self) -> None:
        self.world.show_problem()

    @rule(seconds=st.sampled_from([1, 30, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)

    def _edit(self, part: str, change: builders.Object) -> None:
        stored = self.world.stored | {part: self.world.stored[part] | change}
        stored["metadata"] = stored["metadata"] | {
            "generation": stored["metadata"]["generation"] + (part == "spec"),
            "resourceVersion": str(int(stored["metadata"]["resourceVersion"]) + 1),
        }
        self.world.stored = stored
        self.world.history.append(stored)

    @invariant()
    def watches_bring_what_happened(self) -> None:
        self.world.note()

    @invariant()
    def every_failure_speaks(self) -> None:
        """EveryFailureSpeaks: why, and what to do about it."""
        ready = self.world.condition("Ready")
        if self.world.status and ready["reason"] != "InternalError":
            assert ready["status"] == "True" or speaks(ready["reason"], ready["message"]), ready
            assert (ready["status"] == "True") == (self.world.status["phase"] == "Ready")

    @invariant()
    def others_read_how_it_is(self) -> None:
        self.world.check_what_others_read(("Resolving",), "Incomplete")

    @invariant()
    def nothing_twice(self) -> None:
        """NothingTwice: one reading is one Job, made once."""
        current = self.world.status.get("resolution", {}).get("job")
        for name, count in self.world.creations.items():
            assert count == 1 or name != current, f"Job {name} was made {count} times"
            in_time = count - self.world.late_creations[name]
            assert in_time <= 1, f"Job {name} was made {in_time} times by who knew better"

    def teardown(self) -> None:
        """NothingStuck: when the accidents stop and somebody asks again, the project gets ready."""
        world = self.world
        self._edit("metadata", {"annotations": {"stagecoach.dev/requested-at": "friday"}})
        for _ in range(20):
            world.reconcile()
            world.start_pods()
            world.run_pods()
            world.end_pods(DONE)
            world.wait(400)
        assert world.status["phase"] == "Ready"
        assert world.condition("Ready")["observedGeneration"] == world.stored["metadata"]["generation"]
        assert not world.live_pods()
        writes = world.status_writes
        world.reconcile()
        assert world.status_writes == writes, "a project that is ready is written no more"


TestTransformerProjects = TransformerProjects.TestCase
TestTransformerProjects.settings = settings(max_examples=100, stateful_step_count=30, derandomize=True)
