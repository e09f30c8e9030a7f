"""Jobs of the trainer image."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from stagecoach.api.common import CustomObject
from stagecoach.api.pods import PodSettings
from stagecoach.build import engines
from stagecoach.build.engines import EngineWork
from stagecoach.build.labels import API_VERSION, MANAGED_BY, OWNER_KIND, OWNER_NAME, OWNER_UID, REPORTS_PROGRESS
from stagecoach.build.pods import SECURITY, Network, Reach, chosen, confined, escaped, spread
from stagecoach.contract import progress, retention, tracking
from stagecoach.contract.access import Credential
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, GRACE_SECONDS, MAX_BYTES, AnyJob
from stagecoach.contract.model import ContractModel
from stagecoach.contract.reports import TERMINATION_LOG
from stagecoach.contract.tracking import Tracking
from stagecoach.policies.pods import CONTAINER, JOB_NAME, QUEUE

Object = dict[str, Any]


class TooLarge(ValueError):
    """The document does not fit into a Job; the text says what to make smaller."""


@dataclass(frozen=True)
class Demand:
    """What a pod asks the scheduler for."""

    cpu: str
    memory: str
    gpu_resource: str = ""
    gpus: int = 0

    def resources(self) -> Object:
        """Return the container's resources; memory is limited to what was asked for, CPU time is not."""
        gpus = {self.gpu_resource: str(self.gpus)} if self.gpus else {}
        return {"requests": {"cpu": self.cpu, "memory": self.memory} | gpus, "limits": {"memory": self.memory} | gpus}


def threads(cpu: str) -> int:
    """Return whole CPUs in a quantity such as `2` or `1500m`, at least one."""
    if cpu.endswith("m"):
        return max(1, round(float(cpu[:-1]) / 1000))
    return max(1, round(float(cpu)))


SMALL = Demand(cpu="100m", memory="2Gi")


@dataclass(frozen=True)
class Work:
    """One attempt at something, as the operator decided it."""

    name: str
    document: AnyJob | EvaluateJob
    image: str
    pull_policy: str
    storage: str  # URI of the project's storage
    sources: tuple[str, ...]  # URIs that are read
    demand: Demand
    pods: PodSettings
    seconds: int  # longest time the pod may run
    keep_seconds: int  # how long the Job stays after its end
    credentials: tuple[Credential, ...] = ()  # those of the project; what no URI needs is not mounted
    reports_progress: bool = False
    tracking: Tracking | None = None
    network: Network = field(default_factory=Network)
    progress_deadline: int | None = None  # seconds without progress after which it is ended; None: never
    project_uid: str = ""  # of whose runs the work is
    ended_runs: tuple[str, ...] = ()  # uids of those of the same inputs: what they left may go
    engine: EngineWork | None = None  # in a container beside this work's
    nodes: int = 1  # pods that work together, each on a node of its own if the scheduler will
    service: str = ""  # that gives them names, where there are several

    @property
    def reach(self) -> Reach:
        """What its pods read and write."""
        useful = (self.tracking.mlflow,) if self.tracking else ()
        return Reach(self.storage, self.sources, self.credentials, useful, self.network)


def job_name(owner: CustomObject, suffix: str) -> str:
    """Return the name of a Job: the same for the same attempt, another for another object of the same name."""
    return f"{owner.metadata.name}-{hashlib.sha256(owner.metadata.uid.encode()).hexdigest()[:5]}-{suffix}"


def number_of(owner: CustomObject, letter: str, name: str) -> int | None:
    """Return the number in the name of a Job of a kind; None of a name that is not given to its owner's Jobs.

    A person may copy a Job, labels and all: that is not ours to judge.
    """
    digits = name.rpartition(f"-{letter}")[2]
    number = int(digits) if digits.isdecimal() else 0
    return number if number and name == job_name(owner, f"{letter}{number}") else None


def owner_labels(owner: CustomObject) -> dict[str, str]:
    """Return the labels by which a child is found, and mapped back to its owner."""
    return MANAGED_BY | {
        OWNER_KIND: type(owner).__name__,
        OWNER_NAME: owner.metadata.name,
        OWNER_UID: owner.metadata.uid,
    }


def job(owner: CustomObject, work: Work) -> Object:
    """Return the Job. Raises TooLarge when its document does not fit."""
    labels = work.pods.labels | owner_labels(owner)
    queue = work.pods.queue
    pod_labels = labels | ({REPORTS_PROGRESS: "true"} if work.reports_progress else {})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": work.name,
            "namespace": owner.metadata.namespace,
            "labels": labels | ({QUEUE: queue} if queue else {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            # Every end of the pod ends the Job: the operator alone decides about another attempt.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": work.keep_seconds,
            # The queue releases it, never we.
            **({"suspend": True} if queue else {}),
            **(_indexed(work.nodes) if work.nodes > 1 else {}),
            "template": {"metadata": {"labels": pod_labels}, "spec": _pod(work)},
        },
    }


def _indexed(nodes: int) -> Object:
    return {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes}


def owner_reference(owner: CustomObject) -> Object:
    """Return the reference that makes the child go when its owner goes."""
    return {
        "apiVersion": API_VERSION,
        "kind": type(owner).__name__,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _pod(work: Work) -> Object:
    volumes, volume_mounts = _volumes(work)
    together: Object = {"subdomain": work.service} if work.service else {}
    if work.nodes > 1:
        together["topologySpreadConstraints"] = [spread({JOB_NAME: work.name})]
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": work.seconds,
        "terminationGracePeriodSeconds": GRACE_SECONDS[work.document.kind],
        **confined(),
        **_containers(work, volume_mounts),
        "volumes": [*volumes, *(engines.volumes() if work.engine else ())],
        **together,
        **chosen(work.pods),
    }


def _containers(work: Work, volume_mounts: list[Object]) -> Object:
    """Return the work's container and that of an engine, to which what computes with a model goes: CPUs and GPUs."""
    if work.engine is None:
        return {"containers": [_container(work, work.demand, volume_mounts)]}
    own, rest = engines.shares(work.demand.memory)
    beside = replace(work.demand, memory=str(rest))
    engine = engines.container(work.engine, beside.resources(), rest, volume_mounts, SECURITY)
    asker = Demand(cpu=engines.EVALUATOR_CPU, memory=str(own))
    return {
        "initContainers": [engine],
        "containers": [_container(work, asker, [*volume_mounts, *engines.mounts_beside()])],
    }


def _container(work: Work, demand: Demand, volume_mounts: list[Object]) -> Object:
    return {
        "name": CONTAINER,
        "image": work.image,
        "imagePullPolicy": work.pull_policy,
        "env": _environment(work),
        "resources": demand.resources(),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "securityContext": SECURITY,
        "volumeMounts": volume_mounts,
    }


def _environment(work: Work) -> list[Object]:
    environment = [{"name": ENVIRONMENT_VARIABLE, "value": _document(work.document)}]
    environment += work.reach.environment()
    if work.tracking:
        environment.append({"name": tracking.ENVIRONMENT_VARIABLE, "value": _document(work.tracking)})
    if work.progress_deadline is not None:
        environment.append({"name": progress.DEADLINE_VARIABLE, "value": str(work.progress_deadline)})
    if work.project_uid:
        environment.append({"name": retention.PROJECT_VARIABLE, "value": work.project_uid})
    if work.ended_runs:
        environment.append({"name": retention.ENDED_VARIABLE, "value": ",".join(work.ended_runs)})
    return environment + work.network.environment()


def _document(document: ContractModel) -> str:
    text = document.line()
    if (size := len(text.encode())) > MAX_BYTES:
        raise TooLarge(
            f"What a Job has to be told takes {size} bytes, and a Job holds {MAX_BYTES}: shorten prompts, or take the"
            " labels from a data set instead of listing them."
        )
    return escaped(text)


def _volumes(work: Work) -> tuple[list[Object], list[Object]]:
    """Return volumes and mounts: the storage writable, since what is made is kept there."""
    volumes, places = work.reach.volumes()
    if work.demand.gpus > 1:
        # By default a container has 64 MiB of it, too little for what GPUs of one node exchange.
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
        places.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 - it is this very place
    return volumes, places
