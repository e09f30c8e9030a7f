"""NothingTwice, of runs of the same inputs: whatever the order of events, they are computed once."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stagecoach.contract import retention
from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from stagecoach.kinds.finetunerun.turns import LOOK_AGAIN
from tests import builders
from tests.unit.kinds.world import TERMINAL, World

NAMES = ("one", "two", "three")


def siblings(**changes: Any) -> list[World]:
    """Return the worlds of runs that have the same inputs, the first being the elder."""
    worlds = []
    for number, name in enumerate(NAMES):
        run = builders.stored(builders.run(name, **changes), uid=f"{number}1111111-2222-3333-4444-555555555555")
        worlds.append(World(CONTROLLER, run, builders.ready_project()))
    for world in worlds:
        world.twins = tuple(other for other in worlds if other is not world)
    return worlds


def intents(world: World) -> list[str]:
    return [document_of(job)["kind"] for job in world.job_objects.values()]


def environment(world: World) -> dict[str, str]:
    [job] = world.job_objects.values()
    return {item["name"]: item["value"] for item in job["spec"]["template"]["spec"]["containers"][0]["env"]}


def document_of(job: builders.Object) -> builders.Object:
    variable, *_ = job["spec"]["template"]["spec"]["containers"][0]["env"]
    document: builders.Object = json.loads(variable["value"].replace("$$", "$"))
    return document


def test_the_elder_trains_and_the_others_adopt() -> None:
    worlds = siblings()
    for _ in range(3):
        for world in reversed(worlds):
            world.reconcile()
    elder, *others = worlds
    assert intents(elder) == ["Train"]
    for other in others:
        assert other.condition("Ready")["reason"] == "SameInputs"
        assert "'one'" in other.condition("Ready")["message"]
        assert other.job_objects == {}
        assert other.status["inputs"] == elder.status["inputs"]
    elder.start_pods()
    elder.end_pods(builders.artifact_report())
    for world in (elder, *others, *others):
        world.reconcile()
    assert [intents(world) for world in others] == [["Lookup"], ["Lookup"]], "the elder's record is looked up"


def test_a_record_is_looked_for_without_waiting() -> None:
    worlds = siblings()
    forced, other, _ = worlds
    for version in (forced.stored, forced.history[0]):
        version["spec"]["force"] = True
    for world in worlds:
        world.project = builders.ready_project(records=True)
    all_look(worlds)
    assert (intents(forced), intents(other)) == (["Train"], ["Lookup"])
    other.start_pods()
    other.end_pods({"outcome": "Done"})
    all_look(worlds)
    assert other.condition("Ready")["reason"] == "SameInputs", "there is none yet: it comes from the one that trains"
    forced.start_pods()
    forced.end_pods(builders.artifact_report())
    all_look(worlds)
    assert intents(other) == ["Lookup", "Lookup"]
    other.start_pods()
    other.end_pods(builders.artifact_report(adopted=True))
    all_look(worlds)
    assert other.condition("Ready")["reason"] == "Adopted"


def test_who_waits_says_how_the_other_is_getting_on() -> None:
    elder, younger, _ = worlds = siblings()
    all_look(worlds)
    elder.start_pods()
    [pod] = elder.live_pods()
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes have so much memory"}
    pod["status"]["conditions"] = [condition]
    all_look(worlds)
    message = younger.condition("Ready")["message"]
    assert "It says Unschedulable." in message
    assert "kubectl delete ftr one -n team" in message


def test_who_is_told_to_train_again_waits_for_nobody() -> None:
    worlds = siblings(force=True)
    for _ in range(2):
        for world in worlds:
            world.reconcile()
    assert [intents(world) for world in worlds] == [["Train"]] * 3


def test_a_job_is_told_which_runs_of_its_inputs_have_ended() -> None:
    elder, younger, youngest = worlds = siblings()
    youngest.set_spec(suspend=True)
    all_look(worlds)
    assert retention.ENDED_VARIABLE not in environment(elder)
    elder.start_pods()
    elder.end_pods({"outcome": "BadInput", "problem": {"reason": "Odd", "message": "It is odd."}}, 64, "Error")
    all_look(worlds)
    assert elder.status["phase"] == "Failed"
    told = environment(younger)
    assert told[retention.ENDED_VARIABLE] == elder.stored["metadata"]["uid"], "one that is suspended may go on"
    assert told[retention.PROJECT_VARIABLE] == younger.project["metadata"]["uid"]  # type: ignore[index]


def test_other_inputs_are_no_reason_to_wait() -> None:
    worlds = siblings()
    for version in (worlds[0].stored, worlds[0].history[0]):
        version["spec"]["hyperparameters"]["seed"] = 99
    for _ in range(3):
        for world in worlds:
            world.reconcile()
    assert intents(worlds[0]) == intents(worlds[1]) == ["Train"]
    assert intents(worlds[2]) == []


def all_look(worlds: list[World], times: int = 3) -> None:
    for _ in range(times):
        for world in worlds:
            world.reconcile()


def test_a_suspended_run_holds_nobody_up_and_has_lost_its_turn_when_it_goes_on() -> None:
    worlds = siblings()
    elder, younger, _youngest = worlds
    all_look(worlds)
    elder.start_pods()
    elder.run_pods()
    elder.set_spec(suspend=True)
    all_look(worlds)
    assert elder.status["phase"] == "Suspended"
    assert intents(younger) == ["Train"]
    all_look(worlds)
    assert [attempt["outcome"] for attempt in elder.status["attempts"]] == ["Suspended"], "it is not woken into another"
    elder.set_spec(suspend=False)
    all_look(worlds)
    assert (elder.status["phase"], elder.condition("Ready")["reason"]) == ("Blocked", "SameInputs")
    assert "'two'" in elder.condition("Ready")["message"]
    assert [attempt["outcome"] for attempt in elder.status["attempts"]] == ["Suspended"], "what it did stays told"
    assert elder.job_objects == {}
    younger.start_pods()
    younger.end_pods(builders.artifact_report())
    all_look(worlds)
    assert [attempt["number"] for attempt in elder.status["attempts"]] == [1, 2]
    assert intents(elder) == ["Lookup"], "there is a record now"


def test_whether_a_younger_one_still_has_its_job_is_looked_at_again() -> None:
    elder, younger, youngest = worlds = siblings()
    elder.set_spec(suspend=True)
    all_look(worlds)
    assert intents(younger) == ["Train"]
    elder.set_spec(suspend=False)
    elder.reconcile()
    assert elder.reconcile().requeue_after == LOOK_AGAIN
    assert elder.condition("Ready")["reason"] == "SameInputs"
    assert youngest.reconcile().requeue_after is None, "whom the elder's change wakes"


def test_who_goes_on_before_another_began_has_its_turn_again() -> None:
    worlds = siblings()
    elder, *others = worlds
    all_look(worlds)
    elder.set_spec(suspend=True)
    all_look([elder])
    elder.set_spec(suspend=False)
    all_look(worlds)
    assert intents(elder) == ["Train"]
    assert elder.status["attempts"][-1]["number"] == 2
    assert [world.condition("Ready")["reason"] for world in others] == ["SameInputs"] * 2


def test_who_is_suspended_while_it_waits_waits_again_later() -> None:
    worlds = siblings()
    elder, younger, _youngest = worlds
    all_look(worlds)
    younger.set_spec(suspend=True)
    all_look(worlds)
    assert (younger.status["phase"], younger.status["attempts"]) == ("Suspended", [])
    younger.set_spec(suspend=False)
    all_look(worlds)
    assert younger.condition("Ready")["reason"] == "SameInputs"
    assert younger.job_objects == {}
    assert intents(elder) == ["Train"]


def test_old_jobs_of_a_run_that_gave_its_turn_away_hold_nobody_up() -> None:
    worlds = siblings()
    elder, younger, youngest = worlds
    youngest.set_spec(suspend=True)
    all_look(worlds)
    elder.set_spec(suspend=True)
    all_look(worlds)
    younger.start_pods()
    younger.end_pods(
        {"outcome": "ServiceFailed", "problem": {"reason": "StorageStale", "message": "away"}}, 69, "Error"
    )
    younger.reconcile()
    younger.set_spec(suspend=True)
    all_look([younger])
    assert younger.job_objects, "its first attempt's Job keeps the log"
    elder.set_spec(suspend=False)
    younger.set_spec(suspend=False)
    for world in worlds:
        world.wait(100)
    all_look([elder, younger])
    assert intents(elder) == ["Train"]
    assert younger.condition("Ready")["reason"] == "SameInputs"


class Twins(RuleBasedStateMachine):
    """Runs of the same inputs, reconciled in any order by one operator that crashes between any two writes."""

    def __init__(self) -> None:
        super().__init__()
        self.worlds = siblings(retries=5)

    @rule(index=st.integers(0, 2), writes=st.integers(0, 3))
    def the_operator_looks_and_may_crash(self, index: int, writes: int) -> None:
        self.worlds[index].reconcile(writes=writes)

    @rule(index=st.integers(0, 2), lost=st.booleans())
    def a_pod_comes_and_may_go(self, index: int, lost: bool) -> None:
        self.worlds[index].start_pods()
        self.worlds[index].run_pods()
        if lost:
            self.worlds[index].lose_pods()

    @rule(index=st.integers(0, 2), suspend=st.booleans())
    def somebody_suspends_or_resumes(self, index: int, suspend: bool) -> None:
        self.worlds[index].set_spec(suspend=suspend)

    @rule(seconds=st.sampled_from([1, 9, 11, 400]))
    def time_passes(self, seconds: int) -> None:
        for world in self.worlds:
            world.wait(seconds)

    @invariant()
    def one_trains_at_a_time(self) -> None:
        """Nothing twice."""
        busy = [world.stored["metadata"]["name"] for world in self.worlds if self.trainings(world)]
        assert len(busy) <= 1, busy

    def trainings(self, world: World) -> list[str]:
        """Return the Jobs that train and have not ended."""
        return [
            name
            for name, job in world.job_objects.items()
            if document_of(job)["kind"] == "Train" and "conditions" not in job.get("status", {})
        ]

    def teardown(self) -> None:
        """Nothing is stuck: all end, and one training did the work of all."""
        trained = 0
        for world in self.worlds:
            world.set_spec(suspend=False)
        for _ in range(12):
            all_look(self.worlds, times=4)
            self.one_trains_at_a_time()
            for world in self.worlds:
                world.start_pods()
                world.run_pods()
                trained += len(self.trainings(world))
                made = builders.artifact_report(adopted=not self.trainings(world))
                world.end_pods(made if trained else {"outcome": "Done"})
                all_look(self.worlds, times=1)
            for world in self.worlds:
                world.wait(400)
        phases = [world.status["phase"] for world in self.worlds]
        assert set(phases) <= set(TERMINAL), phases
        assert trained == ("Succeeded" in phases)


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=50, stateful_step_count=30, derandomize=True)
