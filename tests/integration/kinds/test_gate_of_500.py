"""A gate that has judged for long: how large its objects are, and what it costs to look at it."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests import builders
from tests.integration.conftest import StartOperator
from tests.integration.support.court import Court
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube, Object

EVALUATIONS, CANDIDATES, CRITERIA = 500, 50, 32
KB = 1024
LOOKS = 20
LONG = "a-name-so-long-that-nobody-would-think-of-giving-it-to-them"


def size(obj: Any) -> int:
    return len(json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode())


def many(make: Callable[[int], object], count: int) -> None:
    with ThreadPoolExecutor(8) as several:
        list(several.map(make, range(count)))


class Hall(Court):
    """A namespace with a gate that has judged much."""

    def fill(self, judged: Object) -> None:
        """Make as many Evaluations as there are to be, each of another release, as this one is."""
        kube = self.kube

        def make(number: int) -> None:
            key = f"sha256:{number:064x}"
            name = f"good-{number:012x}"
            spec = judged["spec"] | {"key": key, "run": f"run-{number}"}
            spec["release"] = spec["release"] | {"digest": key, "short": f"{number:012x}", "artifact": key}
            document = {"apiVersion": judged["apiVersion"], "kind": "Evaluation", "metadata": {"name": name}}
            kube.create(document | {"spec": spec})
            kube.patch("Evaluation", name, {"status": judged["status"]}, "status")

        many(make, EVALUATIONS - 1)

    def add_unjudged(self, like: Object) -> None:
        """Make runs that have succeeded, on data that the project does not have any more."""
        kube = self.kube

        def make(number: int) -> None:
            name = f"{LONG[:30]}-{number}"
            hyperparameters = {"learningRate": 1.0e-3, "epochs": 1, "seed": 1000 + number}
            kube.create(builders.run(name, kube.namespace, hyperparameters=hyperparameters))
            status = json.loads(json.dumps(like["status"]))
            status["artifact"]["digest"] = f"sha256:{1000 + number:064x}"
            status["inputs"]["train"][0]["digest"] = builders.digest("e")
            kube.patch("FineTuneRun", name, {"status": status}, "status")

        many(make, CANDIDATES)

    def cost(self, operator: OperatorProcess) -> tuple[float, float]:
        """Return the milliseconds and the status writes of a reconcile of the gate, each after a change of its spec."""
        names = (
            "stagecoach_reconcile_seconds_sum",
            "stagecoach_reconcile_seconds_count",
            "stagecoach_status_writes_total",
        )
        before = [operator.metric(name, kind="EvalGate") for name in names]
        for number in range(LOOKS):
            criteria = [builders.gate()["spec"]["criteria"][0] | {"outcome": f"outcome {number}"}]
            changed = self.kube.patch("EvalGate", "good", {"spec": {"criteria": criteria}})
            generation = changed["metadata"]["generation"]
            eventually(
                lambda generation=generation: (
                    self.kube.get("EvalGate", "good")["status"].get("observedGeneration")  # type: ignore[misc]
                    == generation
                ),
                60,
            )
        seconds, count, writes = (
            operator.metric(name, kind="EvalGate") - then for name, then in zip(names, before, strict=True)
        )
        return 1000 * seconds / count, writes / count


@pytest.fixture
def hall(kube: Kube, kubelet: FakeKubelet, operator: OperatorProcess) -> Hall:
    assert operator
    hall = Hall(kube, kubelet)
    hall.make_ready_project()
    return hall


@pytest.mark.long
def test_a_gate_of_500_evaluations_stays_small(
    hall: Hall, operator: OperatorProcess, start_operator: StartOperator
) -> None:
    kube = hall.kube
    kube.create(builders.gate(namespace=kube.namespace, newest=CANDIDATES))
    hall.make_candidate()
    judged = hall.judge("first")
    sizes = {"spec of an Evaluation": size(judged["spec"]), "status of an Evaluation": size(judged["status"])}
    hall.awaits("EvalGate", "good", "Idle")
    alone, _ = hall.cost(operator)
    operator.stop()
    hall.fill(judged)
    hall.add_unjudged(kube.get("FineTuneRun", "first"))
    operator = start_operator().wait_ready().wait_leading()

    def status() -> Object:
        result: Object = kube.get("EvalGate", "good")["status"]
        return result

    eventually(lambda: status()["verdicts"]["passed"] == EVALUATIONS, 60, "all are counted")
    # The newest fifty are those that cannot be judged.
    unjudged = eventually(lambda: status()["unjudged"], 60)
    assert {item["reason"] for item in unjudged} == {"TrainingDataChanged"}
    sizes["status of the gate, none can be judged"] = size(status())
    many(lambda number: kube.delete("FineTuneRun", f"{LONG[:30]}-{number}"), CANDIDATES)
    eventually(lambda: not status().get("unjudged"), 60, "they are gone")
    sizes["status of the gate"] = size(status())
    beside, writes = hall.cost(operator)
    print(
        f"\n{sizes}; a reconcile of the gate: {alone:.1f} ms beside 1 Evaluation, {beside:.1f} ms beside {EVALUATIONS}"
    )
    assert len(kube.select("Evaluation")) == EVALUATIONS
    assert sizes["spec of an Evaluation"] <= 2 * KB
    assert sizes["status of an Evaluation"] <= 2 * KB
    assert sizes["status of the gate"] <= 2 * KB
    assert sizes["status of the gate, none can be judged"] <= 45 * KB
    assert writes <= 1


def test_an_evaluation_of_32_criteria_stays_small(hall: Hall) -> None:
    kube = hall.kube
    criteria = [
        {"name": f"{LONG[:47]}-{number:02}", "suite": "held-out", "metric": "recall", "label": "delivery", "min": 0.8}
        | {"confidence": 0.95}
        for number in range(CRITERIA)
    ]
    kube.create(builders.gate(namespace=kube.namespace, criteria=criteria))
    hall.make_candidate()
    name = hall.evaluation_of("first")
    third = 1 / 3
    numbers = {
        "value": third,
        "low": third / 2,
        "high": 2 * third,
        "threshold": 0.8,
        "scored": 123456,
        "needed": 1234567,
    }
    results = [
        {"criterion": each["name"], "outcome": "Inconclusive", "message": "x" * 300, "advisory": False} | numbers
        for each in criteria
    ]
    report = builders.evaluation_report("Inconclusive", results=results, message="y" * 700)
    hall.kubelet.succeeded(hall.pod_that_judges(name), json.dumps(report))
    decided = hall.awaits("Evaluation", name, "Decided")
    assert decided["status"]["verdict"] == "Inconclusive", decided["status"]
    assert len(decided["status"]["results"]) == CRITERIA
    sizes = size(decided["spec"]), size(decided["status"])
    print(f"\nspec and status of an Evaluation with {CRITERIA} criteria: {sizes} bytes")
    assert sizes[0] <= 6 * KB
    assert sizes[1] <= 24 * KB
