"""For whom a change counts: each who is woken costs a reconcile, and there may be thousands."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from stagecoach.kinds.finetunerun.twins import MAX_ENDED, ended_twins, twins
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.registry import CONTROLLERS
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.intake import Intake
from tests import builders
from tests.unit.kinds.gates import evaluation
from tests.unit.runtime.fakes import Woken

INPUTS = {"digest": builders.digest("1"), "storage": "pvc://store/desk"}
NOW = datetime(2026, 1, 2, 4, tzinfo=UTC)


class Memory:
    """What the operator remembers, and whom it wakes."""

    def __init__(self, *objects: Object) -> None:
        self.cache = Cache(CONTROLLERS)
        self.woken = Woken()
        self.version = 1
        self.intake = Intake(self.cache, CONTROLLERS, self.woken.add)
        for obj in objects:
            self.see(obj)

    def see(self, obj: Object) -> set[str]:
        """Take in an object, and return who else is woken."""
        self.version += 1
        obj = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}
        return self._others(obj, lambda: self.intake.own(obj))

    def lose(self, obj: Object) -> set[str]:
        return self._others(obj, lambda: self.intake.own_deleted(obj))

    def _others(self, obj: Object, happens: Callable[[], None]) -> set[str]:
        before = len(self.woken)
        happens()
        return {key.name for key in self.woken[before:]} - {obj["metadata"]["name"]}


def run(name: str, age: int = 0, phase: str = "Blocked", reason: str = "SameInputs", **status: Any) -> Object:
    """Return a run whose inputs are fixed; the oldest have the highest age."""
    made = builders.stored(builders.run(name), uid=f"uid-{name}")
    made["metadata"]["creationTimestamp"] = f"2026-01-02T03:{59 - age // 60:02}:{59 - age % 60:02}Z"
    conditions = [{"type": "Ready", "status": "False", "reason": reason, "message": ""}]
    over = {"completionTime": builders.CREATED} if phase in ("Succeeded", "Failed") else {}
    return made | {"status": {"phase": phase, "conditions": conditions, "inputs": INPUTS} | over | status}


def training(name: str, age: int, phase: str = "Running", reason: str = "Running", **status: Any) -> Object:
    attempt = {"number": 1, "intent": "Train", "job": f"{name}-1", "decided": builders.CREATED}
    return run(name, age, phase, reason, attempts=[attempt], **status)


def project(records: bool, **storage: Any) -> Object:
    made = builders.ready_project(records)
    made["spec"]["storage"] |= storage
    return made


def family() -> Memory:
    """One trains, two wait for it, and some have ended."""
    ended = (run("done", 90, "Succeeded", "Trained"), run("broken", 80, "Failed", "OutOfMemory"))
    return Memory(*ended, training("first", 70), run("second", 60), run("third", 50))


@pytest.mark.parametrize(
    ("change", "woken"),
    [
        (training("first", 70, progress={"step": 7}), set()),
        (training("first", 70, reason="Stopping"), {"second", "third"}),
        (training("first", 70, "Queued", "Retrying"), {"second", "third"}),
        (training("first", 70, "Suspended", "Suspended"), {"second", "third"}),
        (training("first", 70, "Succeeded", "Trained"), {"second", "third"}),
        (training("first", 70, "Failed", "OutOfMemory"), {"second", "third"}),
        (run("second", 60, "Queued", "Starting"), set()),
        (training("second", 60), set()),
        (run("third", 50, "Succeeded", "Adopted"), {"second"}),
        (run("fourth", 40, "Queued", "Starting"), set()),
        (run("elder", 75, "Queued", "Starting"), {"second", "third"}),
        (run("other", 75, inputs=INPUTS | {"storage": "pvc://elsewhere"}), set()),
    ],
)
def test_what_a_run_does_wakes_those_of_its_inputs_for_whom_it_counts(change: Object, woken: set[str]) -> None:
    assert family().see(change) == woken


def test_a_run_that_goes_wakes_those_who_wait_for_it() -> None:
    memory, first = family(), training("first", 70)
    first["metadata"]["deletionTimestamp"] = builders.CREATED
    assert memory.see(first) == {"second", "third"}
    assert memory.lose(run("third", 50)) == {"second"}, "which is the first now"
    memory = family()
    assert memory.lose(training("first", 70)) == {"second", "third"}


def test_another_run_of_its_name_is_no_twin_any_more() -> None:
    memory = family()
    another = builders.stored(builders.run("first"), uid="uid-another")
    another["metadata"]["creationTimestamp"] = "2026-01-03T00:00:00Z"
    assert memory.see(another) == {"second", "third"}


def test_the_first_hears_of_who_is_at_work_before_it() -> None:
    memory = Memory(run("first", 70), training("second", 60), run("third", 50))
    assert memory.see(training("second", 60, reason="Stopping")) == {"first"}
    assert memory.see(training("second", 60, "Failed", "OutOfMemory")) == {"first"}


def test_of_many_runs_of_the_same_inputs_few_are_woken_and_looked_at() -> None:
    many = 200
    memory = Memory()
    for number in range(many):
        memory.see(training(f"run-{number}", many - number, "Queued", "Starting"))
    for number in range(1, many):
        memory.see(run(f"run-{number}", many - number))
    assert len(memory.woken) < 6 * many
    last = memory.cache.get(Key("FineTuneRun", "team", f"run-{many - 1}"))
    assert last is not None
    assert [twin.name for twin in twins(memory.cache, last, NOW)] == ["run-0"]


@pytest.mark.parametrize(
    ("desk", "woken"),
    [
        (project(records=False), {"desk"}),
        (project(records=True), set()),
        (project(records=True, retention={"runs": 20}), {"desk"}),
    ],
    ids=["the first record", "one of many", "with retention"],
)
def test_a_success_wakes_the_project_when_it_is_news_to_it(desk: Object, woken: set[str]) -> None:
    artifact = {"digest": builders.digest("7")}
    done = training("first", 70, "Succeeded", "Trained", artifact=artifact)
    memory = Memory(desk, training("first", 70))
    assert memory.see(training("first", 70, progress={"step": 7})) == set()
    assert memory.see(done) == woken
    assert memory.see(done | {"status": done["status"] | {"observedGeneration": 2}}) == set()
    assert memory.lose(done) == woken


@pytest.mark.parametrize(
    ("change", "woken"),
    [
        ({"status": {"retention": {"number": 1}}}, set()),
        ({"status": {"storage": {"records": True}}}, {"new", "waits"}),
        ({"status": {"conditions": []}}, {"new", "waits"}),
        ({"spec": {"pods": {"priorityClassName": "high"}}}, {"new", "waits"}),
        ({"metadata": {"generation": 2}}, {"new", "waits"}),
        ({"metadata": {"annotations": {"stagecoach.dev/requested-at": "now"}}}, {"new", "waits"}),
    ],
)
def test_a_project_wakes_the_runs_that_wait_when_they_read_what_changed(change: Object, woken: set[str]) -> None:
    desk, new = project(records=False), builders.stored(builders.run("new"), uid="uid-new")
    ended = run("done", 90, "Succeeded", "Trained")
    memory = Memory(ended, training("busy", 80), run("waits", 70), new)
    assert memory.see(desk) == {"new", "waits"}
    assert memory.see(desk) == set()
    changed = desk | {part: desk[part] | fields for part, fields in change.items()}
    assert memory.see(changed) == woken
    assert memory.lose(changed) == {"new", "waits"}


def test_who_is_woken_by_another_waits_behind_those_to_whom_something_happened() -> None:
    memory = family()
    memory.woken.later.clear()
    memory.see(training("first", 70, "Failed", "OutOfMemory"))
    assert {key.name for key in memory.woken.later} == {"second", "third"}


def test_of_many_that_have_ended_the_newest_are_told() -> None:
    failed = [run(f"failed-{number}", age=number, phase="Failed") for number in reversed(range(30))]
    asking = run("asking")
    memory = Memory(asking, *failed, run("suspended", phase="Suspended"))
    assert ended_twins(memory.cache, asking) == tuple(f"uid-failed-{number}" for number in reversed(range(MAX_ENDED)))


def test_a_run_that_has_succeeded_wakes_the_gates_of_its_project() -> None:
    desk, gate = project(records=True), builders.stored(builders.gate(), uid="uid-gate")
    other = builders.stored(builders.gate("other", project="another"), uid="uid-other")
    memory = Memory(desk, gate, other, training("first", 70))
    assert memory.see(training("first", 70, progress={"step": 7})) == set()
    done = training("first", 70, "Succeeded", "Trained", artifact={"digest": builders.digest("7")})
    assert memory.see(done) == {"good"}
    assert memory.lose(done) == {"good"}


def test_a_project_wakes_its_gates_and_what_waits_for_it() -> None:
    judged = evaluation()
    pending = judged | {"status": {"phase": "Pending"}}
    desk = project(records=True)
    memory = Memory(desk, builders.stored(builders.gate(), uid="uid-gate"), pending)
    name = judged["metadata"]["name"]
    changed = desk | {"metadata": desk["metadata"] | {"generation": 2}}
    assert memory.see(changed) == {"good", name}
    memory.see(judged | {"status": {"phase": "Running"}})
    assert memory.see(desk) == {"good"}
    memory.see(judged | {"status": {"phase": "Decided", "completionTime": builders.CREATED}})
    assert memory.see(changed) == {"good"}


def test_an_evaluation_wakes_its_gate_when_it_comes_is_decided_or_goes_and_who_waits_for_its_answers() -> None:
    first = evaluation()
    second = evaluation(minScored=0.5) | {}
    second["metadata"] |= {"uid": "uid-second"}
    memory = Memory(builders.stored(builders.gate(), uid="uid-gate"))
    waits = second["metadata"]["name"]
    assert memory.see(first) == {"good"}
    assert memory.see(second) == {"good", first["metadata"]["name"]}
    assert memory.see(first | {"status": {"phase": "Running"}}) == set()
    decided = first | {"status": {"phase": "Decided", "verdict": "Passed", "completionTime": builders.CREATED}}
    assert memory.see(decided) == {"good", waits}
    assert memory.see(decided | {"metadata": decided["metadata"] | {"labels": {}}}) == set()
    assert memory.lose(decided) == {"good", waits}


def test_a_gate_that_changes_wakes_nobody() -> None:
    gate = builders.stored(builders.gate(), uid="uid-gate")
    memory = Memory(project(records=True), training("first", 70), evaluation())
    assert memory.see(gate) == set()
    assert memory.lose(gate) == set()


def test_a_run_wakes_the_deployments_of_its_project_when_they_would_read_it_otherwise() -> None:
    served = builders.stored(builders.deployment(gates=[{"name": "better"}]), uid="uid-served")
    other = builders.stored(builders.deployment("other", project="another"), uid="uid-other")
    memory = Memory(project(records=True), served, other, training("first", 70))
    assert memory.see(training("first", 70, progress={"step": 7})) == set()
    done = training("first", 70, "Succeeded", "Trained", artifact={"digest": builders.digest("7")})
    assert memory.see(done) == {"answers"}
    assert memory.see(done | {"metadata": done["metadata"] | {"labels": {"track": "prod"}}}) == {"answers"}
    assert memory.lose(done) == {"answers"}


def test_gates_verdicts_and_projects_wake_the_deployments_that_go_by_them() -> None:
    served, judged = builders.stored(builders.deployment(), uid="uid-served"), evaluation()
    gate, desk = builders.stored(builders.gate(), uid="uid-gate"), project(records=True)
    memory = Memory(desk, gate, served)
    assert "answers" in memory.see(judged)
    decided = {"phase": "Decided", "verdict": "Passed", "completionTime": builders.CREATED}
    assert "answers" in memory.see(judged | {"status": decided})
    assert memory.see(gate | {"metadata": gate["metadata"] | {"generation": 2}}) == {"answers"}
    assert "answers" in memory.see(desk | {"metadata": desk["metadata"] | {"generation": 2}})
    asks = served | {"status": {"candidate": {"run": "first"}}}
    assert memory.see(asks) == {"good"}, "who is asked about another run"
    assert memory.see(asks | {"status": asks["status"] | {"phase": "Pending"}}) == set()
