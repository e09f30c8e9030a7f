"""What deployments ask of their gates: what is served, and what is wanted, is judged however old it is."""

import copy
from typing import Any

import pytest

from stagecoach.api.gate_status import MAX_CANDIDATES
from stagecoach.contract.times import timestamp
from stagecoach.kinds.controller import Controller
from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.plan import Key, Plan, key_of
from stagecoach.kinds.registry import CONTROLLERS
from stagecoach.runtime.cache import Cache
from stagecoach.runtime.intake import Intake
from tests import builders
from tests.unit.kinds.gates import NOW, Hall, succeeded
from tests.unit.runtime.fakes import Woken

Object = builders.Object
# What a gate needs to know of the kind.
DEPLOYMENTS = Controller(
    kind="ModelDeployment",
    plural="modeldeployments",
    references=asked.gates_of,
    wakes=lambda _key, _view, before, after: asked.to_wake(before, after),
    reconcile=lambda *_: Plan(),
)
ALL = (*(each for each in CONTROLLERS if each.kind != "ModelDeployment"), DEPLOYMENTS)


def deployment(name: str = "desk", gates: tuple[str, ...] = ("good",), project: str = "desk", **model: Any) -> Object:
    """Return a deployment that wants this model, stored."""
    spec = {"project": project, "model": model or {"latest": {}}, "gates": [{"name": gate} for gate in gates]}
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "generation": 1}
    return {"apiVersion": "stagecoach.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


def serving(run: str, **more: str) -> Object:
    """Return a status by which a run is served."""
    return {"status": {"serving": {"run": run}} | {name: {"run": each} for name, each in more.items()}}


class Served(Hall):
    """A gate beside deployments; of the runs run-1 to run-5 the newest alone is judged without them."""

    def __init__(self, *objects: Object, runs: int = 5, **gate: Any) -> None:
        made = [labelled(f"run-{number}", number) for number in range(1, runs + 1)]
        super().__init__(**{"newest": 1, "maxConcurrent": 8} | gate)
        self.cache = Cache(ALL)
        for obj in (*self.objects.values(), *made, *objects):
            self.put(obj)

    @property
    def judged(self) -> list[str]:
        self.look()
        return [item["spec"]["run"] for item in self.evaluations]


def labelled(name: str, number: int) -> Object:
    run = succeeded(name, number)
    run["metadata"]["labels"] = {"track": "odd" if number % 2 else "even"}
    return run


def test_without_deployments_the_newest_are_judged() -> None:
    assert Served().judged == ["run-5"]


@pytest.mark.parametrize(
    ("asking", "first"),
    [
        (deployment(run="run-2"), ["run-2"]),
        (deployment(run="run-5"), ["run-5"]),
        (deployment(run="none"), []),
        (deployment(), ["run-5"]),
        (deployment(latest={"selector": {}}), ["run-5"]),
        (deployment(latest={"selector": {"matchLabels": {"track": "even"}}}), ["run-4"]),
        (deployment(latest={"selector": {"matchLabels": {"track": "none"}}}), []),
        (deployment() | serving("run-1"), ["run-5", "run-1"]),
        (deployment() | serving("run-1", candidate="run-3"), ["run-5", "run-3", "run-1"]),
        (deployment(run="run-2", project="other"), []),
        (deployment(run="run-2", gates=("other",)), []),
    ],
)
def test_what_deployments_ask_about_is_judged_before_the_newest(asking: Object, first: list[str]) -> None:
    here = Served(asking)
    assert here.judged == [*first, *(name for name in ["run-5"] if name not in first)]


def test_several_deployments_ask_and_each_run_is_judged_once() -> None:
    here = Served(deployment(run="run-1"), deployment("b", run="run-2") | serving("run-1"), deployment("c"))
    assert here.judged == ["run-5", "run-2", "run-1"]


@pytest.mark.parametrize("change", [{"purpose": "Experiment"}, {}])
def test_what_never_is_judged_is_not_judged_for_a_deployment(change: Object) -> None:
    here = Served(deployment(run="run-2"))
    run = copy.deepcopy(here.get("FineTuneRun", "run-2"))
    run["spec"] |= change
    if not change:
        run["status"]["phase"] = "Running"
    here.put(run)
    assert here.judged == ["run-5"]


def test_a_deployment_that_goes_asks_nothing() -> None:
    asking = deployment(run="run-2")
    asking["metadata"]["deletionTimestamp"] = timestamp(NOW)
    assert Served(asking).judged == ["run-5"]


def test_a_release_is_found_by_the_evaluations_that_name_it() -> None:
    here = Served(deployment(run="run-2"))
    assert here.judged == ["run-2", "run-5"]
    release = here.evaluations[0]["spec"]["release"]["digest"]
    here.put(deployment(release=release))
    here.change("EvalGate", "good", minScored=0.5)
    assert here.judged == ["run-2", "run-5"] * 2
    here.put(deployment(release=builders.digest("e")))
    here.change("EvalGate", "good", minScored=0.4)
    assert here.judged == [*["run-2", "run-5"] * 2, "run-5"]


def test_what_is_served_is_judged_again_when_the_gate_has_changed() -> None:
    here = Served(deployment() | serving("run-1"))
    assert here.judged == ["run-5", "run-1"]
    for item in here.evaluations:
        here.decide(item["metadata"]["name"])
    here.change("EvalGate", "good", minScored=0.5)
    assert here.judged == ["run-5", "run-1"] * 2


def test_what_deployments_ask_about_goes_first_where_one_is_judged_at_a_time() -> None:
    here = Served(deployment(run="run-1"), newest=3, maxConcurrent=1)
    assert here.judged == ["run-1"]
    assert [item["run"] for item in here.status["waiting"]] == ["run-5", "run-4", "run-3"]


def test_the_status_stays_small_however_many_deployments_ask() -> None:
    runs = MAX_CANDIDATES + 9
    asking = [deployment(f"desk-{number}", run=f"run-{number}") for number in range(1, runs)]
    here = Served(*asking, runs=runs, maxConcurrent=1)
    assert len(here.judged) == 1
    assert len(here.status["waiting"]) == MAX_CANDIDATES
    assert f"{runs - 1} more wait" in here.condition()["message"]
    changed = copy.deepcopy(here.get("TransformerProject", "desk"))
    changed["spec"]["data"]["sets"].pop(0)
    here.put(changed)
    here.events.clear()
    here.look()
    assert len(here.status["unjudged"]) == len(here.events) == MAX_CANDIDATES
    assert f"{runs} cannot be judged" in here.condition()["message"]
    here.look()
    assert len(here.events) == MAX_CANDIDATES


class Memory:
    """Whom the operator wakes."""

    def __init__(self, *objects: Object) -> None:
        self.cache, self.woken, self.version = Cache(ALL), Woken(), 1
        self.intake = Intake(self.cache, ALL, self.woken.add)
        for obj in objects:
            self.see(obj)

    def see(self, obj: Object) -> set[Key]:
        self.version += 1
        obj = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}
        before = len(self.woken)
        self.intake.own(obj)
        return set(self.woken[before:]) - {key_of(obj)}


GOOD, BETTER = Key("EvalGate", "team", "good"), Key("EvalGate", "team", "better")


@pytest.mark.parametrize(
    ("change", "woken"),
    [
        (deployment(), set()),
        (deployment() | {"status": {"phase": "Available"}}, set()),
        (deployment() | serving("run-1"), {GOOD}),
        (deployment(run="run-1"), {GOOD}),
        (deployment(gates=("better",)), {GOOD, BETTER}),
        (deployment(gates=("good", "better")), {GOOD, BETTER}),
        (deployment(project="other"), {GOOD}),
    ],
)
def test_a_deployment_wakes_its_gates_when_it_asks_for_something_else(change: Object, woken: set[Key]) -> None:
    memory = Memory()
    assert memory.see(deployment()) == {GOOD}
    assert memory.see(change) == woken


def test_a_gate_and_its_evaluations_wake_the_deployments_that_name_it() -> None:
    hall = Hall(succeeded())
    hall.look()
    desk, other = deployment("desk"), deployment("other", gates=("better",))
    memory = Memory(hall.gate, desk, other)
    told = hall.gate | {"status": {"phase": "Idle"}}
    assert memory.see(told) == set()
    changed = hall.gate | {"metadata": hall.gate["metadata"] | {"generation": 2}}
    assert memory.see(changed) == {key_of(desk)}
    [made] = hall.evaluations
    assert memory.see(made) == {GOOD, key_of(desk)}
    decided = {"phase": "Decided", "verdict": "Passed", "completionTime": builders.CREATED}
    assert memory.see(made | {"status": decided}) == {GOOD, key_of(desk)}
