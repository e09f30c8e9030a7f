"""What a kubelet would say about pods, where there is no node."""

import time
from datetime import UTC, datetime
from typing import Any

from tests.integration.support.eventually import eventually
from tests.kube import Kube

Object = dict[str, Any]


class FakeKubelet:
    """Writes the status of pods that the Job controller made."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def pod_of(self, job: str, seconds: float = 60.0) -> str:
        """Return the name of the Job's newest pod, once there is one."""
        pods = eventually(
            lambda: self._kube.select("Pod", f"batch.kubernetes.io/job-name={job}"), seconds, f"pod of {job}"
        )
        return str(max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])["metadata"]["name"])

    def bind(self, pod: str, node: str = "") -> None:
        """Assign a pod to a node, as the scheduler would.

        Else to one of its own: pods of a node that has been missing for 40 seconds are collected within 20 more.
        """
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"kind": "Node", "name": node or f"node-of-{pod}"},
        }
        self._kube.request("POST", self._kube.path("Pod", pod, "binding"), body)

    def running(self, pod: str) -> None:
        """Let the first container run."""
        state = {"running": {"startedAt": _now()}}
        self._status(pod, "Running", state, ready=True)

    def waiting(self, pod: str, reason: str, message: str = "") -> None:
        """Let the first container wait, such as for ImagePullBackOff."""
        self._status(pod, "Pending", {"waiting": {"reason": reason, "message": message}})

    def succeeded(self, pod: str, message: str = "") -> None:
        """End the pod with exit code 0 and this termination message."""
        self.ended(pod, 0, message, "Completed")

    def ended(self, pod: str, code: int, message: str = "", reason: str = "Error") -> None:
        """End the pod with an exit code and a termination message."""
        terminated = {"exitCode": code, "reason": reason, "message": message, "startedAt": _now(), "finishedAt": _now()}
        self._status(pod, "Failed" if code else "Succeeded", {"terminated": terminated})

    def ended_beside_another(self, pod: str, code: int, message: str = "") -> None:
        """End the first container with a termination message, and not one that was injected beside it."""
        terminated = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        terminated |= {"startedAt": _now(), "finishedAt": _now()}
        self._status(pod, "Running", {"terminated": terminated}, beside="istio-proxy")

    def ended_unstarted(self, pod: str) -> None:
        """End a pod that is deleted before its container started."""
        unknown = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
        self._status(pod, "Failed", {"terminated": unknown})

    def failed_pod(self, pod: str, reason: str, message: str = "") -> None:
        """End the pod without a container status: evicted, deadline exceeded, node lost."""
        status = {"phase": "Failed", "reason": reason, "message": message}
        self._kube.patch("Pod", pod, {"status": status}, "status")

    def condition(self, pod: str, kind: str, reason: str, message: str = "", status: str = "True") -> None:
        """Add a condition, such as DisruptionTarget."""
        present = self._kube.get("Pod", pod).get("status", {}).get("conditions", [])
        new = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": _now()}
        conditions = [*(each for each in present if each["type"] != kind), new]
        self._kube.patch("Pod", pod, {"status": {"conditions": conditions}}, "status")

    def complain(self, pod: str, reason: str, message: str) -> None:
        """Write a Warning event about a pod."""
        metadata = self._kube.get("Pod", pod)["metadata"]
        about = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod,
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        }
        self._kube.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{pod}.{time.monotonic_ns():x}"},
                "involvedObject": about,
                "type": "Warning",
                "reason": reason,
                "message": message,
                "source": {"component": "kubelet"},
                "firstTimestamp": _now(),
                "lastTimestamp": _now(),
                "count": 1,
            }
        )

    def _status(self, pod: str, phase: str, state: Object, *, ready: bool = False, beside: str = "") -> None:
        first = self._kube.get("Pod", pod)["spec"]["containers"][0]
        containers = [_container(first["name"], first["image"], state, ready=ready)]
        if beside:
            running = {"running": {"startedAt": _now()}}
            containers.append(_container(beside, "registry.example/proxy", running, ready=True))
        status = {"phase": phase, "startTime": _now(), "containerStatuses": containers}
        self._kube.patch("Pod", pod, {"status": status}, "status")


def _container(name: str, image: str, state: Object, *, ready: bool) -> Object:
    return {
        "name": name,
        "image": image,
        "imageID": image,
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
