"""Any order of events: a project looks through its storage by one Job at a time, only while it is Ready and asked to."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.test_retention import NOTHING, Storehouse, ended_run

DONE = {"outcome": "Done", "resolution": builders.resolution(), "retention": NOTHING}
REPORTS = st.sampled_from(
    [
        (DONE, 0, "Completed"),
        ({"outcome": "Done"}, 0, "Completed"),
        ({"outcome": "BadInput", "problem": {"reason": "RecordUnreadable", "message": "It is wrong."}}, 64, "Error"),
        ({"outcome": "ServiceFailed", "problem": {"reason": "StorageAway", "message": "No route."}}, 69, "Error"),
        (None, 137, "OOMKilled"),
        (None, 1, "Error"),
    ]
)


class Storehouses(RuleBasedStateMachine):
    """A project whose spec and runs change while its Jobs come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.here = Storehouse()

    @rule(age=st.integers(0, 3), writes=st.integers(0, 4))
    def the_operator_looks_and_may_crash(self, age: int, writes: int) -> None:
        self.here.reconcile(age, writes)

    @rule()
    def a_pod_is_made(self) -> None:
        self.here.start_pods()

    @rule()
    def a_pod_runs(self) -> None:
        self.here.run_pods()

    @rule(end=REPORTS)
    def a_pod_ends(self, end: tuple[builders.Object | None, int, str]) -> None:
        self.here.end_pods(*end)

    @rule()
    def a_node_goes(self) -> None:
        self.here.lose_pods()

    @rule(retention=st.sampled_from([None, {"runs": 1}, {"runs": 2}]), length=st.sampled_from([64, 128]))
    def somebody_edits_the_spec(self, retention: builders.Object | None, length: int) -> None:
        storage = {"uri": "pvc://store/desk"} | ({"retention": retention} if retention else {})
        self.here.set_spec(storage=storage, tokenization={"maxLength": length, "overflow": "Truncate"})

    @rule(letter=st.sampled_from("abcd"))
    def a_run_ends_or_is_deleted(self, letter: str) -> None:
        others = [run for run in self.here.runs if run["metadata"]["name"] != f"run-{letter}"]
        self.here.runs = others if len(others) < len(self.here.runs) else [*others, ended_run(f"run-{letter}", letter)]

    @rule(seconds=st.sampled_from([1, 30, 700, 4000, 100_000]))
    def time_passes(self, seconds: int) -> None:
        self.here.wait(seconds)

    @invariant()
    def no_job_twice(self) -> None:
        """NothingTwice: one look is one Job, made once."""
        for name, count in self.here.creations.items():
            assert count == 1 or name != self.here.told.get("job"), f"Job {name} was made {count} times"

    @invariant()
    def what_it_came_to_speaks(self) -> None:
        """EveryFailureSpeaks: why, and what to do about it."""
        told = self.here.told
        assert told.get("outcome") in (None, "Succeeded") or speaks(told["outcome"], told["message"]), told

    def teardown(self) -> None:
        """NothingStuck: when the accidents stop, it is looked through, and then nothing more is done."""
        here = self.here
        metadata = here.stored["metadata"] | {"annotations": {"stagecoach.dev/requested-at": "friday"}}
        here.stored = here.stored | {"metadata": metadata}
        here.set_spec(storage={"uri": "pvc://store/desk", "retention": {"runs": 3}})
        here.runs = [ended_run("last", "e")]
        for _ in range(40):
            here.reconcile()
            here.start_pods()
            here.run_pods()
            here.end_pods(DONE)
            here.wait(4000)
        assert here.status["phase"] == "Ready"
        assert here.told["outcome"] == "Succeeded"
        assert not here.live_pods()
        writes, made = here.status_writes, len(here.creations)
        here.wait(1_000_000)
        here.reconcile()
        assert (here.status_writes, len(here.creations)) == (writes, made)
        here.set_spec(storage={"uri": "pvc://store/desk"})
        here.reconcile()
        assert "retention" not in here.status
        assert not [job for name, job in here.job_objects.items() if "-k" in name and "conditions" not in job["status"]]


TestStorehouses = Storehouses.TestCase
TestStorehouses.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, derandomize=True)
