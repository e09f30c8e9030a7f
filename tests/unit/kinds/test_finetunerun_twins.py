"""Runs of the same inputs: whatever the order of events, they are computed once."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
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


def document_of(job: builders.Object) -> builders.Object:
    [variable] = job["spec"]["template"]["spec"]["containers"][0]["env"]
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
    assert intents(others[0]) == ["Lookup"], "the elder's record is looked up"
    assert others[1].condition("Ready")["reason"] == "SameInputs", "one after the other"


def test_who_is_told_to_train_again_waits_for_nobody() -> None:
    worlds = siblings(force=True)
    for _ in range(2):
        for world in worlds:
            world.reconcile()
    assert [intents(world) for world in worlds] == [["Train"]] * 3


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
        # A run that is suspended gives its turn away at once, while its pod still saves a checkpoint.
        working = [world for world in self.worlds if self._at_work(world)]
        busy = [world for world in working if world.live_pods() or self._unfinished(world)]
        assert len(busy) <= 1, [world.status.get("phase") for world in busy]

    def _at_work(self, world: World) -> bool:
        return world.status.get("phase") != "Suspended"

    def _unfinished(self, world: World) -> bool:
        return any("conditions" not in job.get("status", {}) for job in world.job_objects.values())

    def teardown(self) -> None:
        """Nothing is stuck: all end, and one training did the work of all."""
        trained = 0
        for world in self.worlds:
            world.set_spec(suspend=False)
        for _ in range(60):
            for world in self.worlds:
                world.reconcile()
                world.start_pods()
                for job in world.job_objects.values():
                    if "conditions" not in job.get("status", {}):
                        adopted = trained > 0 or document_of(job)["kind"] == "Lookup"
                        trained += not adopted
                        world.run_pods()
                        world.reconcile()
                        world.end_pods(builders.artifact_report(adopted=adopted) if trained else {"outcome": "Done"})
                world.wait(100)
                world.reconcile()
        for world in self.worlds:
            assert world.status["phase"] in TERMINAL
        failed = [world for world in self.worlds if world.status["phase"] == "Failed"]
        assert trained == 1 or len(failed) == len(self.worlds)


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, derandomize=True)
