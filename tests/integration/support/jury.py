"""A namespace in which people look at the rows of a canary; the tests play the kubelet, and the people."""

import json

from tests import builders
from tests.integration.support.court import Court
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.integration.support.logs import FakeLogs
from tests.kube import Kube
from tests.unit.kinds import gates

ROWS = builders.canary_rows()
LOG = "\n".join(("asking", *ROWS.lines(), "a library says farewell", ""))


class Jury(Court):
    """A namespace with a gate whose canary people read."""

    def __init__(self, kube: Kube, kubelet: FakeKubelet, logs: FakeLogs) -> None:
        super().__init__(kube, kubelet)
        self.logs = logs

    def measured(self, number: int = 1, log: str | None = LOG, **report: object) -> str:
        """Let a pod find that the candidate meets its criteria; return the Evaluation's name."""
        name = self.evaluation_of("first")
        pod = self.pod_that_judges(name, number)
        self.logs.node_of(pod, log)
        self.kubelet.bind(pod)
        self.kubelet.succeeded(pod, json.dumps(gates.canary_report(**report)))
        return name

    def asked(self, **review: object) -> str:
        """Return the name of an Evaluation that awaits review."""
        self.kube.create(builders.gate(namespace=self.kube.namespace, **gates.reviewed_spec(**review)))
        self.make_candidate()
        name = self.measured()
        self.awaits("Evaluation", name, "AwaitingReview")
        return name

    def decide(self, evaluation: str, name: str = "fine", **changes: object) -> None:
        release = self.kube.get("Evaluation", evaluation)["spec"]["release"]["digest"]
        told = {"subject": {"kind": "Evaluation", "name": evaluation}, "release": release} | changes
        self.kube.create(builders.approval(name, self.kube.namespace, **told))

    def said(self, name: str, reason: str, seconds: float = 60) -> None:
        eventually(lambda: self.reason("Approval", name)[0] == reason, seconds, f"Approval {name} is {reason}")
