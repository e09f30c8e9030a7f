"""What serves, as Prometheus asks for it over HTTP: where it answers, and by which labels it is known."""

from collections.abc import Iterable

from stagecoach.build.gateway import ADMIN_PORT
from stagecoach.build.labels import COMPONENT, ENGINE, ENGINE_NAME, GATEWAY, OWNER_NAME
from stagecoach.contract import serving
from stagecoach.kinds.plan import Object

# Of each pod one port: clients and loaders have others.
PORTS = {GATEWAY: ADMIN_PORT, ENGINE: serving.PORT}
# A label of a pod, and what Prometheus calls it; vLLM has a label `engine` of its own.
LABELS = {OWNER_NAME: "deployment", COMPONENT: "component", ENGINE_NAME: "engine_name"}


def targets(children: Iterable[Object]) -> list[Object]:
    """Return a group of one target for each pod that serves and has an address."""
    return [_target(each) for each in children if _port(each) and each["status"].get("podIP")]


def _port(child: Object) -> int | None:
    return PORTS.get(_labels(child).get(COMPONENT, "")) if child["kind"] == "Pod" else None


def _target(pod: Object) -> Object:
    address, metadata, labels = pod["status"]["podIP"], pod["metadata"], _labels(pod)
    host = f"[{address}]" if ":" in address else address
    told = {called: labels[label] for label, called in LABELS.items() if label in labels}
    known = {"namespace": metadata["namespace"], "pod": metadata["name"]} | told
    return {"targets": [f"{host}:{_port(pod)}"], "labels": known}


def _labels(child: Object) -> dict[str, str]:
    return child["metadata"].get("labels") or {}
