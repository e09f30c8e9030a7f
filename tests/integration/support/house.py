"""A namespace in which something is deployed; the tests play the kubelet, and others loaders and gateways."""

import base64
import json
import time
from typing import Any

from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.gateway_routes import Routes, verified
from tests import builders
from tests.integration.support.court import Court
from tests.integration.support.eventually import eventually
from tests.remedies import speaks

Object = builders.Object
# Arguments of an operator that can deploy.
INSTALLED = ("--engine-cpu-image", builders.ENGINE_IMAGE, "--gateway-image", builders.GATEWAY_IMAGE)


class House(Court):
    """A namespace with a project by vLLM, runs that its gate judges, and a deployment."""

    def open(self) -> None:
        found = builders.resolution()
        found["labels"]["digest"] = digest_of_document(found["labels"]["first"])
        project = builders.project(namespace=self.kube.namespace)
        project["spec"]["inference"]["engine"] = "vLLM"
        self.kube.create(project)
        told = json.dumps({"outcome": "Done", "resolution": found})
        self.kubelet.succeeded(self.kubelet.pod_of(self.job_of("TransformerProject", "desk")), told)
        self.awaits("TransformerProject", "desk", "Ready")
        self.kube.create(builders.gate(namespace=self.kube.namespace))

    def admit(self, name: str = "first", artifact: str = "7") -> None:
        """Let a run succeed and pass."""
        self.make_candidate(name, artifact)
        self.judge(name)

    def make_candidate(self, name: str = "first", artifact: str = "7", **changes: object) -> None:
        """Let a run succeed that is newer than all before it: the newest is served, and Kubernetes knows whole seconds."""
        time.sleep(1 - time.time() % 1)
        super().make_candidate(name, artifact, **changes)

    def deploy(self, **spec: Any) -> None:
        self.kube.create(builders.deployment(namespace=self.kube.namespace, **spec))

    @property
    def status(self) -> Object:
        result: Object = self.kube.get("ModelDeployment", "answers").get("status", {})
        return result

    def condition(self, kind: str) -> tuple[str, str]:
        told = next((each for each in self.status.get("conditions", ()) if each["type"] == kind), None)
        return (told["status"], told["reason"]) if told else ("", "")

    def ready(self) -> tuple[str, str]:
        reason, message = self.reason("ModelDeployment", "answers")
        assert not reason or reason == "Serving" or speaks(reason, message)
        return reason, message

    def serves(self, run: str, seconds: float = 60) -> None:
        def look() -> bool:
            status = self.status
            well = status.get("phase") == "Available" and status["routes"]["acknowledged"] > 0
            return bool(well and status["serving"].get("run") == run)

        eventually(look, seconds, f"{run} is served")

    def key(self, name: str) -> bytes:
        [secret] = [each for each in self.kube.select("Secret") if each["metadata"]["name"].startswith("answers-keys-")]
        return base64.b64decode(secret["data"][name])

    def routes(self) -> Routes:
        """Return what a gateway that begins would read."""
        text = self.kube.get("ConfigMap", "answers-routes")["data"]["routes.json"]
        return verified(text, self.key("routes-key"))
