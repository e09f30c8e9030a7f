"""A pod of servers beside what is tested, with a Service in front of it."""

from collections.abc import Sequence

from tests import builders, deploy
from tests.e2e.conftest import POLL_SECONDS, Desk
from tests.integration.support.eventually import eventually

Object = builders.Object


def start(
    desk: Desk, name: str, ports: Sequence[int], container: Object, volumes: Sequence[Object], *others: Object
) -> None:
    """Start a pod that restricted namespaces admit; `others` are containers that differ from the first in this."""
    labels = {"app": name}
    spec = deploy.restricted_job(name, container, volumes)["spec"]["template"]["spec"]
    spec["containers"] += [spec["containers"][0] | other for other in others]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    front = {"selector": labels, "ports": [{"name": f"port-{port}", "port": port} for port in ports]}
    desk.apply(pod, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": front})


def await_ready(desk: Desk, name: str) -> None:
    """Return once all servers of a pod answer."""

    eventually(
        lambda: is_ready(desk.kube.get("Pod", name)), 300, f"the servers of pod {name} answer", every=POLL_SECONDS
    )


def is_ready(pod: Object) -> bool:
    """Whether a pod's containers are ready."""
    conditions = pod["status"].get("conditions", [])
    return ("Ready", "True") in [(item["type"], item["status"]) for item in conditions]


def url(desk: Desk, name: str, port: int) -> str:
    """Return where pods of the cluster find a server."""
    return f"http://{name}.{desk.namespace}.svc:{port}"


def secret(desk: Desk, name: str, keys: dict[str, str]) -> None:
    """Create a Secret of keys."""
    desk.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys})
