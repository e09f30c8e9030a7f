"""The operator's promises about gates and verdicts, on a real API server: the tests play the kubelet."""

import json
import time
from pathlib import Path

import pytest

from tests import builders
from tests.cluster import ControlPlane
from tests.integration.conftest import StartOperator
from tests.integration.kinds.test_stale_writer import answers, await_held
from tests.integration.runtime.test_leadership import DURATION
from tests.integration.support.court import Court
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import EVALUATOR_IMAGE, OperatorProcess
from tests.integration.support.proxy import HoldingProxy
from tests.kube import Kube
from tests.remedies import speaks
from tests.unit.kinds import gates


@pytest.fixture
def court(kube: Kube, kubelet: FakeKubelet, operator: OperatorProcess) -> Court:
    assert operator
    court = Court(kube, kubelet)
    court.make_ready_project()
    return court


def test_from_a_run_to_its_verdict(court: Court) -> None:
    kube = court.kube
    kube.create(builders.gate(namespace=kube.namespace))
    eventually(lambda: court.reason("EvalGate", "good")[0] == "NoCandidates", 60, "there is nothing to judge")
    court.make_candidate()
    name = court.evaluation_of("first")
    pod = court.pod_that_judges(name)
    container = kube.get("Pod", pod)["spec"]["containers"][0]
    document = json.loads(container["env"][0]["value"])
    assert (document["kind"], container["image"]) == ("Evaluate", EVALUATOR_IMAGE)
    court.kubelet.bind(pod)
    court.kubelet.running(pod)
    court.awaits("Evaluation", name, "Running")
    gate = kube.get("EvalGate", "good")["status"]
    assert (gate["phase"], gate["judging"]) == ("Judging", [{"run": "first", "evaluation": name}])
    court.kubelet.succeeded(pod, json.dumps(builders.evaluation_report()))
    decided = court.awaits("Evaluation", name, "Decided")["status"]
    assert (decided["verdict"], court.reason("Evaluation", name)[0]) == ("Passed", "Passed")
    assert decided["results"][0]["value"] == 0.9
    told = court.awaits("EvalGate", "good", "Idle")["status"]
    assert told["verdicts"] == {"passed": 1, "failed": 0, "inconclusive": 0, "error": 0}
    assert told["latest"]["evaluation"] == name
    words = eventually(lambda: [e for e in kube.select("Event") if e["involvedObject"]["name"] == name], 60, "an Event")
    assert {event["reason"] for event in words} == {"Passed"}
    assert "finalizers" not in kube.get("Evaluation", name)["metadata"]


GOOD = builders.gate()["spec"]["criteria"][0]
CANARY = {"name": "canary", "dataset": "canary", "type": "Canary"}
# the canary's rows, changes of a gate, the reason, words of the message: the field, its value, and what there is instead
UNFIT: list[tuple[int, builders.Object, str, tuple[str, ...]]] = [
    (10, {"suites": [CANARY | {"name": "held-out", "dataset": "none"}]}, "UnknownDataset", ("spec.suites[held-out].dataset", "'none'", "it has canary, test, train, valid")),
    (10, {"criteria": [GOOD | {"metric": "bleu"}]}, "UnknownMetric", ("spec.criteria[good].metric", "'bleu'", "accuracy")),
    (10, {"criteria": [GOOD | {"metric": "recall", "label": "lost"}]}, "UnknownLabel", ("spec.criteria[good].label", "'lost'", "billing, delivery")),
    (3, gates.reviewed_spec(), "CanarySize", ("spec.suites[canary].dataset", "'canary' has 3 rows", "10 to 20")),
    (300, gates.reviewed_spec(), "CanarySize", ("spec.suites[canary].dataset", "'canary' has 300 rows", "10 to 20")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "gate", "reason", "words"), UNFIT, ids=["data-set", "metric", "label", "canary-of-3", "canary-of-300"]
)
def test_what_the_project_does_not_have_is_told_with_what_it_has(
    kube: Kube,
    kubelet: FakeKubelet,
    operator: OperatorProcess,
    rows: int,
    gate: builders.Object,
    reason: str,
    words: tuple[str, ...],
) -> None:
    assert operator
    court = Court(kube, kubelet)
    court.make_project_with_canary(rows)
    kube.create(builders.gate(namespace=kube.namespace, **gate))
    court.awaits("EvalGate", "good", "Incomplete")
    told, message = court.reason("EvalGate", "good")
    assert told == reason
    assert speaks(told, message)
    assert all(word in message for word in words), message


def test_a_verdict_outlives_its_gate_and_its_run(court: Court) -> None:
    kube = court.kube
    kube.create(builders.gate(namespace=kube.namespace))
    court.make_candidate()
    decided = court.judge("first", "Failed")
    name = decided["metadata"]["name"]
    kube.patch("EvalGate", "good", {"spec": {"minScored": 0.5}})
    eventually(lambda: len(court.evaluations("first")) == 2, 60, "it is judged by what the gate says now")
    kube.delete("EvalGate", "good")
    kube.delete("FineTuneRun", "first")
    for each in court.evaluations("first"):
        if each["metadata"]["name"] != name:
            pod = court.pod_that_judges(each["metadata"]["name"])
            court.kubelet.succeeded(pod, json.dumps(builders.evaluation_report()))
            court.awaits("Evaluation", each["metadata"]["name"], "Decided")
    assert kube.get("Evaluation", name)["status"] == decided["status"]
    assert court.reason("Evaluation", name)[0] == "CriterionFailed"


def test_an_evaluation_that_is_deleted_goes_with_its_job_and_is_made_again(court: Court) -> None:
    kube = court.kube
    kube.create(builders.gate(namespace=kube.namespace))
    court.make_candidate()
    name = court.evaluation_of("first")
    pod = court.pod_that_judges(name)
    court.kubelet.ended(pod, 137, "", "OOMKilled")
    court.awaits("Evaluation", name, "Decided")
    reason, message = court.reason("Evaluation", name)
    assert reason == "OutOfMemory"
    assert f"kubectl delete eval {name} -n {kube.namespace}" in message
    kube.patch("EvalGate", "good", {"spec": {"resources": {"memory": "16Gi"}}})
    before = kube.get("Evaluation", name)["metadata"]["uid"]
    kube.delete("Evaluation", name)

    def again() -> builders.Object | None:
        found = kube.find("Evaluation", name)
        return found if found and found["metadata"]["uid"] != before else None

    made = eventually(again, 60, "the gate makes another")
    assert made
    assert made["spec"]["resources"]["memory"] == "16Gi"
    assert court.judge("first")["status"]["verdict"] == "Passed"


def test_an_evaluation_that_is_interrupted_goes_on(court: Court) -> None:
    court.kube.create(builders.gate(namespace=court.kube.namespace))
    court.make_candidate()
    name = court.evaluation_of("first")
    pod = court.pod_that_judges(name)
    court.kubelet.bind(pod)
    court.kubelet.failed_pod(pod, "Evicted", "The node was low on memory.")
    second = court.pod_that_judges(name, 2)
    court.kubelet.succeeded(second, json.dumps(builders.evaluation_report()))
    told = court.awaits("Evaluation", name, "Decided")["status"]
    assert (told["verdict"], told["failures"], told["interruptions"]) == ("Passed", 0, 1)


def test_runs_are_judged_one_after_the_other_and_experiments_never(court: Court) -> None:
    court.make_candidate("first", "7")
    time.sleep(1 - time.time() % 1)  # the newest goes first, and Kubernetes knows whole seconds
    court.make_candidate("second", "8")
    court.make_candidate("trial", "9", purpose="Experiment")
    court.kube.create(builders.gate(namespace=court.kube.namespace))
    court.judge("second")
    court.judge("first", "Inconclusive")
    told = court.awaits("EvalGate", "good", "Idle")["status"]
    assert told["verdicts"] == {"passed": 1, "failed": 0, "inconclusive": 1, "error": 0}
    assert court.evaluations("trial") == []


@pytest.mark.long
def test_the_operator_may_be_killed_between_any_two_of_its_writes(
    kube: Kube, kubelet: FakeKubelet, start_operator: StartOperator
) -> None:
    """NothingStuck: whoever comes next goes on from the objects."""
    operator = start_operator(*DURATION).wait_ready().wait_leading()
    court = Court(kube, kubelet)
    court.make_ready_project()
    court.make_candidate()
    operator.kill()
    kube.create(builders.gate(namespace=kube.namespace))
    operator = start_operator(*DURATION).wait_ready().wait_leading(30)
    name = court.evaluation_of("first")
    operator.kill()
    operator = start_operator(*DURATION).wait_ready().wait_leading(30)
    pod = court.pod_that_judges(name)
    operator.kill()
    court.kubelet.succeeded(pod, json.dumps(builders.evaluation_report()))
    start_operator(*DURATION).wait_ready().wait_leading(30)
    assert court.awaits("Evaluation", name, "Decided", 30)["status"]["verdict"] == "Passed"
    court.awaits("EvalGate", "good", "Idle")
    assert len(kube.select("Job", "stagecoach.dev/kind=Evaluation")) == 1


def test_what_a_former_leader_had_in_hand_changes_no_verdict(
    control_plane: ControlPlane, start_operator: StartOperator, kube: Kube, kubelet: FakeKubelet, tmp_path: Path
) -> None:
    """StaleWriterHarmless: a verdict, and an Evaluation that is there already."""
    court = Court(kube, kubelet)
    with HoldingProxy(kube.kubeconfig) as proxy:
        stale = start_operator(*DURATION, kubeconfig=proxy.kubeconfig(tmp_path / "proxy.kubeconfig"))
        stale.wait_ready().wait_leading()
        other = start_operator(*DURATION).wait_ready()
        court.make_ready_project()
        court.make_candidate("first", "7")
        kube.create(builders.gate(namespace=kube.namespace, maxConcurrent=2))
        name = court.evaluation_of("first")
        pod = court.pod_that_judges(name)
        proxy.hold(r"PATCH \S+/evaluations/\S+/status |POST \S+/evaluations ")
        kubelet.succeeded(pod, json.dumps(builders.evaluation_report("Error")))
        await_held(proxy, 1)
        court.make_candidate("second", "8")
        await_held(proxy, 2)
        stale.freeze()
        other.wait_leading(30)
        court.awaits("Evaluation", name, "Decided")
        court.evaluation_of("second")
        court.judge("second")
        before = {item["metadata"]["name"]: item for item in kube.select("Evaluation")}
        proxy.release()
        eventually(lambda: all(answers(control_plane, proxy)), 60, "they have arrived")
        assert answers(control_plane, proxy) == [409, 409]
        assert {item["metadata"]["name"]: item for item in kube.select("Evaluation")} == before
