"""A namespace in which the tests play the kubelet for a project and its runs."""

import json

from tests import builders
from tests.integration.support.eventually import eventually
from tests.integration.support.kubelet import FakeKubelet
from tests.kube import Kube

DONE = json.dumps({"outcome": "Done", "resolution": builders.resolution()})
TRAINED = json.dumps(builders.artifact_report())
ADOPTED = json.dumps(builders.artifact_report(adopted=True))


class Desk:
    """A namespace with a project and its runs."""

    def __init__(self, kube: Kube, kubelet: FakeKubelet) -> None:
        self.kube, self.kubelet = kube, kubelet

    def make_ready_project(self, report: str = DONE) -> None:
        self.kube.create(builders.project(namespace=self.kube.namespace))
        self.kubelet.succeeded(self.kubelet.pod_of(self.job_of("TransformerProject", "desk")), report)
        self.awaits("TransformerProject", "desk", "Ready")

    def job_of(self, kind: str, name: str, number: int = 1) -> str:
        def look() -> str:
            status = (self.kube.find(kind, name) or {}).get("status", {})
            if kind == "TransformerProject":
                return str(status.get("resolution", {}).get("job", ""))
            return next((item["job"] for item in status.get("attempts", []) if item["number"] == number), "")

        return eventually(look, 60, f"attempt {number} of {name}")

    def awaits(self, kind: str, name: str, phase: str, seconds: float = 60) -> builders.Object:
        def look() -> builders.Object | None:
            obj = self.kube.find(kind, name) or {}
            return obj if obj.get("status", {}).get("phase") == phase else None

        found = eventually(look, seconds, f"{name} is {phase}")
        assert found
        return found

    def reason(self, kind: str, name: str) -> tuple[str, str]:
        for item in self.kube.get(kind, name).get("status", {}).get("conditions", []):
            if item["type"] == "Ready":
                return item["reason"], item["message"]
        return "", ""
