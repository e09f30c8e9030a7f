"""VerdictIsFinal and NothingTwice where the operator is killed again and again, at any of its writes."""

import itertools
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagecoach.build.labels import OWNER_KIND, OWNER_NAME
from tests import builders
from tests.cluster import ControlPlane
from tests.integration.conftest import StartOperator
from tests.integration.support.desk import DONE
from tests.integration.support.eventually import eventually
from tests.integration.support.killing import WRITES, Death, Fate, KillingProxy
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.operator import OperatorProcess
from tests.kube import Kube, Object

SEED = 6
KILLS = 54
# At which writes: those of a gate's way to a verdict, each with each fate, and any.
WAY = (
    r"PATCH \S+/evalgates/\S+/status ",
    r"POST \S+/evaluations ",
    r"PATCH \S+/evaluations/\S+/status ",
    r"POST \S+/jobs ",
    r"POST \S+/events ",
    WRITES,
)
# Nobody waits for it to run out: a dead leader's Lease is deleted.
DURATION = ("--lease-duration", "9")
AT_ONCE = 5  # runs of which something is not judged yet
GATES = ("good", "strict")
DECIDED = ("verdict", "results", "report", "message", "completionTime")
FAILED = {"outcome": "Failed", "problem": {"reason": "Unexplained", "message": "It failed."}}


class Play:
    """Plays the nodes, and looks on: what pods of Evaluations said, and what Evaluations were decided to be."""

    def __init__(self, kube: Kube) -> None:
        self.said: dict[str, list[Object]] = {}
        self.decided: dict[str, Object] = {}
        self.changed: list[str] = []
        self.error = ""
        self._kube, self._kubelet = kube, FakeKubelet(kube)
        self._chance = random.Random(SEED)  # noqa: S311
        self._numbers = itertools.count(1)
        self._ended: set[str] = set()
        self._failed: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> "Play":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go_on(self) -> None:
        try:
            while not self._stop.wait(0.1):
                for pod in self._kube.select("Pod"):
                    if pod["metadata"]["name"] not in self._ended:
                        self._end(pod)
                self._look()
        except Exception as error:  # whatever it is: the test has to say so
            self.error = repr(error)

    def _end(self, pod: Object) -> None:
        name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        self._ended.add(name)
        number = next(self._numbers)
        if labels[OWNER_KIND] == "TransformerProject":
            self._kubelet.succeeded(name, DONE)
        elif labels[OWNER_KIND] == "FineTuneRun":
            report = builders.artifact_report()
            report["artifact"]["digest"] = f"sha256:{number:064x}"
            self._kubelet.succeeded(name, json.dumps(report))
        else:
            self._judge(name, labels[OWNER_NAME], number)

    def _judge(self, pod: str, evaluation: str, number: int) -> None:
        if evaluation not in self._failed and self._chance.random() < 0.2:
            self._failed.add(evaluation)
            self._kubelet.bind(pod)
            if number % 2:
                self._kubelet.failed_pod(pod, "Evicted", "The node was low on memory.")
            else:
                self._kubelet.ended(pod, 70, json.dumps(FAILED))
            return
        verdict = self._chance.choice(["Passed", "Failed", "Inconclusive", "Error"])
        report = builders.evaluation_report(verdict, record=f"sha256:{number:064x}")
        self.said.setdefault(evaluation, []).append(report["evaluation"])
        self._kubelet.succeeded(pod, json.dumps(report))

    def _look(self) -> None:
        for each in self._kube.select("Evaluation"):
            name, status = each["metadata"]["name"], each.get("status", {})
            now = {field: status.get(field) for field in DECIDED}
            if name in self.decided and now != self.decided[name]:
                self.changed.append(f"{name} was {self.decided[name]} and became {now}")
            if status.get("verdict"):
                self.decided[name] = now


@pytest.fixture
def proxy(kube: Kube) -> Iterator[KillingProxy]:
    with KillingProxy(kube.kubeconfig) as proxy:
        yield proxy


def deaths(chance: random.Random) -> Iterator[Death]:
    while True:
        deck = [(pattern, fate) for pattern in WAY for fate in Fate]
        for pattern, fate in chance.sample(deck, len(deck)):
            yield Death(pattern, chance.randint(1, 6 if pattern == WRITES else 2), fate)


class Supply:
    """Sees to it that there are always runs to judge."""

    def __init__(self, kube: Kube, play: Play) -> None:
        self.made = 0
        self._kube, self._play = kube, play

    def add(self) -> None:
        while self.made - len(self._play.decided) / len(GATES) < AT_ONCE:
            hyperparameters = {"learningRate": 1.0e-3, "epochs": 1, "seed": self.made}
            self._kube.create(builders.run(f"run-{self.made}", self._kube.namespace, hyperparameters=hyperparameters))
            self.made += 1


@pytest.mark.long
def test_wherever_the_operator_is_killed_each_verdict_is_given_once_and_for_ever(
    control_plane: ControlPlane, kube: Kube, start_operator: StartOperator, proxy: KillingProxy, tmp_path: Path
) -> None:
    way = proxy.kubeconfig(tmp_path / "proxy.kubeconfig")
    chance = random.Random(SEED)  # noqa: S311
    kube.create(builders.project(namespace=kube.namespace))
    for name, share in zip(GATES, (0.9, 0.95), strict=True):
        kube.create(builders.gate(name, kube.namespace, minScored=share, newest=50, maxConcurrent=8))
    with Play(kube.within(kube.namespace)) as play:
        supply = Supply(kube, play)
        operators = [start_operator(*DURATION, kubeconfig=way) for _ in range(2)]
        for death in itertools.islice(deaths(chance), KILLS):
            leader = who_leads(operators)
            before = len(proxy.died_at)
            proxy.arm(death, leader.process.kill)

            def dead(before: int = before) -> bool:
                supply.add()
                assert not play.error
                return len(proxy.died_at) > before

            eventually(dead, 120, f"a write comes for {death}")
            leader.process.wait(10)
            # Who comes next need not wait until it would have run out.
            kube.delete("Lease", "stagecoach-operator")
            operators = [each for each in operators if each is not leader]
            operators.append(start_operator(*DURATION, kubeconfig=way))
        who_leads(operators)
        wanted = len(GATES) * supply.made
        eventually(lambda: len(play.decided) == wanted, 120, f"all {wanted} Evaluations are decided", every=0.5)
        eventually(lambda: all(gate["status"]["phase"] == "Idle" for gate in kube.select("EvalGate")), 60)
    print(f"{KILLS} kills, {supply.made} runs, {wanted} Evaluations, {sum(map(len, play.said.values()))} reports")
    assert not play.changed
    check_evaluations(kube, play)
    check_writes(control_plane, kube)
    for pattern in WAY:
        assert any(re.match(pattern, line) for line in proxy.died_at), pattern


def who_leads(operators: list[OperatorProcess]) -> OperatorProcess:
    leading = eventually(
        lambda: [each for each in operators if each.metric("stagecoach_leader") == 1], 120, "somebody leads"
    )
    return leading[0]


def check_evaluations(kube: Kube, play: Play) -> None:
    evaluations = {each["metadata"]["name"]: each for each in kube.select("Evaluation")}
    assert evaluations.keys() == play.said.keys()
    for name, each in evaluations.items():
        [said] = play.said[name]
        status = each["status"]
        assert {field: status.get(field) for field in DECIDED} == play.decided[name]
        assert (status["verdict"], status["report"]["digest"]) == (said["verdict"], said["record"])
        assert [item.get("value") for item in status["results"]] == [item.get("value") for item in said["results"]]
    for gate in kube.select("EvalGate"):
        mine = [
            each["status"]["verdict"]
            for each in evaluations.values()
            if each["spec"]["gate"] == gate["metadata"]["name"]
        ]
        assert {word: count for word, count in gate["status"]["verdicts"].items() if count} == Counter(
            map(str.lower, mine)
        )


def check_writes(control_plane: ControlPlane, kube: Kube) -> None:
    made: Counter[tuple[str, str]] = Counter()
    for event in control_plane.audit_events():
        about = event.get("objectRef", {})
        if (
            about.get("namespace") == kube.namespace
            and event["verb"] == "create"
            and event["responseStatus"]["code"] == 201
        ):
            made[about["resource"], about.get("name", "")] += 1
    ours = {key: count for key, count in made.items() if key[0] in ("jobs", "evaluations")}
    assert len(ours) > KILLS
    assert set(ours.values()) == {1}, ours
    for job in kube.select("Job"):
        pods = kube.select("Pod", f"batch.kubernetes.io/job-name={job['metadata']['name']}")
        assert len(pods) <= 1  # one that was evicted is collected with its node
    events = Counter(
        (event["involvedObject"]["name"], event["reason"], event["message"])
        for event in kube.select("Event")
        if event["involvedObject"]["kind"] in ("EvalGate", "Evaluation")
        for _ in range(event.get("count") or 1)
    )
    assert set(events.values()) <= {1}, events
