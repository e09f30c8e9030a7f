"""All that there is to judge a soak by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stagecoach.contract.evaluations import EvaluationRecord
from tests.soak.audit import Write

Object = dict[str, Any]

STATUS = "finetuneruns/status"
VERDICT = "evaluations/status"
DEPLOYMENT = "modeldeployments/status"
LEASES = "leases"
CONTROL_PLANE = "control plane"  # as a victim


@dataclass(frozen=True)
class Hit:
    """A fault that was done."""

    fault: str
    victim: str  # an operator by its account, or what else it was done to
    began: datetime
    ended: datetime


@dataclass(frozen=True)
class Answer:
    """What a client of the deployment got."""

    began: datetime
    ended: datetime
    status: int  # of HTTP; 0: the connection ended without one
    release: str = ""  # that answered, or failed to, as a header says
    error: str = ""  # its code; without an answer what became of the connection


@dataclass(frozen=True)
class Recorded:
    """A record of an evaluation as it lies in the storage, with the digest of its bytes."""

    digest: str
    record: EvaluationRecord


@dataclass(frozen=True)
class Evidence:
    """How everything was in the end, and what led to it; runs by namespace and name."""

    writes: Sequence[Write]  # of the operators, in the order in which they were completed
    runs: Sequence[Object]
    pods: Sequence[Object]
    events: Sequence[Object]
    made: frozenset[tuple[str, str]]  # the runs that people made
    bereft: frozenset[tuple[str, str]] = frozenset()  # those of which a pod was deleted
    hits: Sequence[Hit] = ()  # in the order in which they were over
    # By inputs digest: what is wrong with what lies in the storage of the real runs, empty when all is well.
    storage: Mapping[str, str] = field(default_factory=dict)
    gates: Sequence[Object] = ()
    evaluations: Sequence[Object] = ()
    # By key: what the storage says of real evaluations; what is wrong with it, where it says nothing that can be read.
    records: Mapping[str, Recorded | str] = field(default_factory=dict)
    deployments: Sequence[Object] = ()
    wanted: Mapping[str, int] = field(default_factory=dict)  # how often what was to be served was said in which way
    answers: Sequence[Answer] = ()  # in the order in which they were asked for

    @property
    def accepted(self) -> list[Write]:
        """The writes that changed something."""
        return [write for write in self.writes if write.accepted]

    def statuses(self, resource: str = STATUS) -> Iterator[tuple[str, list[Write]]]:
        """Yield the accepted status writes of each object, in their order."""
        found: dict[tuple[str, str], list[Write]] = {}
        for write in self.accepted:
            if write.resource == resource:
                found.setdefault((write.namespace, write.name), []).append(write)
        for (namespace, name), writes in found.items():
            yield f"{namespace}/{name}", writes

    def holders(self) -> list[tuple[str, str]]:
        """Return when the Lease went to whom, each time that it was another operator than before."""
        found: list[tuple[str, str]] = []
        for write in self.accepted:
            held = write.resource == LEASES and write.response.get("spec", {}).get("holderIdentity")
            if held and (not found or found[-1][1] != write.user):
                found.append((write.completed, write.user))
        return found


def key_of(obj: Object) -> tuple[str, str]:
    """Return namespace and name."""
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def title_of(obj: Object) -> str:
    """Return how an object is called in sentences."""
    return "/".join(key_of(obj))


def within(namespace: str, objects: Sequence[Object]) -> list[Object]:
    """Return the objects of a namespace."""
    return [each for each in objects if each["metadata"]["namespace"] == namespace]
