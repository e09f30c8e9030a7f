"""What a pod of a deployment says: whether it is ready, and what keeps it from that, with what to do."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stagecoach.build.labels import COMPONENT, ENGINE, ENGINE_NAME
from stagecoach.kinds.plan import Object
from stagecoach.policies.attempts import BAD_IMAGE_REASONS, CREATE, CREATE_CLAIM, IMAGE_PULL_REASONS, MAKE_ROOM

IMAGE_BAD = "Whoever installed the operator sets the image right in the chart."
IMAGE_AWAY = "See that the image exists and that the project's pods.imagePullSecrets may pull it."
SEE_LOG = "See the log: kubectl logs {pod} -n {namespace} -c {container} --previous."
MEMORY = {
    True: "Raise spec.engine.resources.memory.",
    False: "Raise spec.gateway.resources.memory.",
}
# A gateway mounts the claims of bases, and that of samples.
CREATE_CLAIM_OF_GATEWAY = (
    "Create the claim {claim!r}, or correct what names it: spec.sampling.claim, or the URI of the project's base."
)
SHARE_CLAIM = (
    "Use a claim of access mode ReadWriteMany where pods on several nodes write, as gateways do to spec.sampling.claim."
)
# Longer texts, such as the end of a log, say no more.
MOST = 600


@dataclass(frozen=True)
class Complaint:
    """Why a pod does not come to be ready."""

    reason: str
    message: str


@dataclass(frozen=True)
class Pod:
    """A pod of an engine, or of a gateway."""

    name: str
    uid: str
    address: str  # empty: it has none yet
    engine: str  # the name of its engine; empty: it is a gateway's
    ready: bool
    leaving: bool  # somebody asked for its deletion, or it has ended
    complaint: Complaint | None = None
    since: datetime | None = None  # when it became ready, where that is said
    created: datetime | None = None

    @property
    def changed(self) -> datetime | None:
        """When it became ready, or ceased to be; or was made, as far as that is said."""
        return self.since or self.created

    @property
    def reachable(self) -> bool:
        """Whether it may be asked something."""
        return bool(self.address) and not self.leaving


def pod_of(raw: Object, warning: str | None) -> Pod:
    """Read a pod's raw form, with the kubelet's last complaint about it."""
    metadata, status = raw["metadata"], raw.get("status", {})
    labels = metadata.get("labels", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get("Ready", {}).get("status") == "True"
    leaving = "deletionTimestamp" in metadata or status.get("phase") in ("Succeeded", "Failed")
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        address=status.get("podIP") or "",
        engine=str(labels.get(ENGINE_NAME, "")) if labels.get(COMPONENT) == ENGINE else "",
        ready=ready and not leaving,
        leaving=leaving,
        complaint=None if ready or leaving else _complaint(raw, conditions, warning),
        since=datetime.fromisoformat(changed)
        if (changed := conditions.get("Ready", {}).get("lastTransitionTime"))
        else None,
        created=datetime.fromisoformat(made) if (made := metadata.get("creationTimestamp")) else None,
    )


def first_complaint(pods: Iterable[Pod]) -> Complaint | None:
    """Return what one of these pods complains of, if any does: mostly all say the same."""
    return next((pod.complaint for pod in sorted(pods, key=lambda pod: pod.name) if pod.complaint), None)


def _complaint(raw: Object, conditions: Mapping[str, Any], warning: str | None) -> Complaint | None:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return _unschedulable(raw, scheduled.get("message") or scheduled.get("reason") or "")
    status = raw["status"]
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if found := _of_container(raw, container):
            return found
    if warning and status.get("phase") != "Running":
        advice = SHARE_CLAIM if "Multi-Attach" in warning else CREATE
        return Complaint("PodNotStarting", f"{_sentence(f'Pod {_name(raw)} does not start: {warning}')} {advice}")
    return None


def _unschedulable(raw: Object, words: str) -> Complaint:
    # Of a claim that is missing, the scheduler ends with these words twice.
    words = re.sub(r"(?: not found\.)+", " not found.", words)
    missing = re.search(r'persistentvolumeclaim "([^"]+)" not found', words)
    create = CREATE_CLAIM if _is_engine(raw) else CREATE_CLAIM_OF_GATEWAY
    advice = create.format(claim=missing[1]) if missing else MAKE_ROOM
    return Complaint("Unschedulable", f"{_sentence(f'No node takes pod {_name(raw)}: {words}')} {advice}")


def _of_container(raw: Object, container: Mapping[str, Any]) -> Complaint | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in BAD_IMAGE_REASONS:
        return Complaint("BadImage", f"{_sentence(f'{reason}: {message}')} {IMAGE_BAD}")
    if reason in IMAGE_PULL_REASONS:
        return Complaint(
            "ImagePullFailed", f"{_sentence(f'The image cannot be pulled: {message or reason}')} {IMAGE_AWAY}"
        )
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    where = f"Container {container.get('name')} of pod {_name(raw)}"
    if ended.get("reason") == "OOMKilled":
        return Complaint("OutOfMemory", f"{where} needed more memory than it may have. {MEMORY[_is_engine(raw)]}")
    if ended and ended.get("exitCode", 0) != 0:
        log = SEE_LOG.format(pod=_name(raw), namespace=raw["metadata"]["namespace"], container=container.get("name"))
        return Complaint("ContainerEnds", f"{_sentence(_ended(where, container, ended))} {log}")
    if reason.endswith("Error"):
        return Complaint("PodNotStarting", f"{_sentence(f'{where} does not start: {message or reason}')} {CREATE}")
    return None


def _ended(where: str, container: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    words = (ended.get("message") or ended.get("reason") or "").strip()
    times = f", {count} times so far" if (count := container.get("restartCount", 0)) > 1 else ""
    return f"{where} ended with exit code {ended['exitCode']}{times}: {words[-MOST:]}"


def _is_engine(raw: Object) -> bool:
    return bool(raw["metadata"].get("labels", {}).get(COMPONENT) == ENGINE)


def _name(raw: Object) -> str:
    return str(raw["metadata"]["name"])


def _sentence(words: str) -> str:
    """End somebody else's words with one full stop: what to do follows them."""
    return f"{words.rstrip('. :')}."
