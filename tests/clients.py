"""Clients of a deployment: a pod that asks it all the time, and tells what came back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import deploy

NAME = "clients"
PROGRAM = Path(__file__).with_name("client.py")
RESOURCES = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}


@dataclass(frozen=True)
class Clients:
    """Those of one deployment; `image` is any with a Python."""

    tools: deploy.Tools
    namespace: str
    deployment: str
    image: str
    key: str = ""

    def start(self, texts: Sequence[str], every: float) -> None:
        """Begin to ask: every so many seconds one of the texts after the other."""
        kube = self.tools.kube(self.namespace)
        self.tools.kubectl("delete", "pod", NAME, "-n", self.namespace, "--ignore-not-found", "--grace-period=1")
        program = {"client.py": PROGRAM.read_text()}
        kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": program})
        url = f"http://{self.deployment}.{self.namespace}.svc/v1/predict"
        container = {
            "image": self.image,
            "command": ["python3", "/client/client.py", "--every", str(every), *texts],
            "env": [{"name": "URL", "value": url}, {"name": "KEY", "value": self.key}],
            "resources": RESOURCES,
            "volumeMounts": [{"name": "client", "mountPath": "/client"}],
        }
        job = deploy.restricted_job(NAME, container, [{"name": "client", "configMap": {"name": NAME}}])
        kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}} | job["spec"]["template"])
        self.tools.kubectl("wait", "-n", self.namespace, "--for=condition=ready", f"pod/{NAME}", "--timeout=5m")

    def ask(self, text: str, *options: str) -> deploy.Object:
        """Ask once more."""
        words = ("exec", "-n", self.namespace, NAME, "--", "python3", "/client/client.py", *options, text)
        return deploy.Object(json.loads(self.tools.kubectl(*words)))

    def answers(self) -> list[deploy.Object]:
        """Return all that came back until now, in this order."""
        complete, _, _partial = self.tools.kube(self.namespace).log(NAME).rpartition("\n")
        return [json.loads(line) for line in complete.splitlines()]
