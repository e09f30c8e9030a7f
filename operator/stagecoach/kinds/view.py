"""What a reconcile may look at: indices and facts in memory, no I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from stagecoach.contract.reports import Progress
from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.plan import Key, Object
from stagecoach.policies.sharing import Claim

Read = TypeVar("Read")


@dataclass(frozen=True)
class Answer:
    """What a pod of ours said to a Call, or that it said nothing."""

    status: int  # of HTTP; 0: it could not be reached, or did not answer in time
    body: bytes  # at most 1 MiB; of status 0, why in words
    at: datetime  # when it came
    asked: bytes  # the body of the Call


class View(Protocol):
    """The operator's memory. Everything in it may be old; every write is therefore guarded by the API server.

    Children are those in the namespace of the object that they were made for, as long as that is there.
    """

    def get(self, key: Key) -> Object | None:
        """Return one of our own objects, or None."""

    def read(self, key: Key, read: Callable[[Object], Read]) -> Read | None:
        """Return one of our own objects as `read` has it, the same for each kind, or None; each is read once.

        Whatever `read` raises is raised.
        """

    def referrers(self, key: Key) -> Iterable[Object]:
        """Return the objects that refer to this one, or that share it."""

    def everything(self) -> Iterable[Object]:
        """Return all of our own objects, of every kind and namespace that is served."""

    def jobs(self, uid: str) -> Sequence[Object]:
        """Return the Jobs made for the object with this uid."""

    def services(self, uid: str) -> Sequence[Object]:
        """Return the Services made for the object with this uid."""

    def deployments(self, uid: str) -> Sequence[Object]:
        """Return the Deployments made for the object with this uid."""

    def config_maps(self, uid: str) -> Sequence[Object]:
        """Return the ConfigMaps made for the object with this uid; those that are immutable with their data."""

    def answer(self, pod_uid: str, method: str, path: str) -> Answer | None:
        """Return what a pod last said to a Call of this method and path, however long ago, or None."""

    def refusals(self, uid: str) -> Mapping[tuple[str, str], str]:
        """Return what was refused when it was last tried of what the object with this uid wanted to create or apply.

        By kind and name, why, with what to do.
        """

    def claim(self, namespace: str, name: str) -> Claim | None:
        """Return what was lately seen of a PersistentVolumeClaim that a plan asked for, or None."""

    def pods(self, uid: str) -> Sequence[Object]:
        """Return the pods of these Jobs."""

    def progress(self, pod_uid: str) -> Progress | None:
        """Return the last progress line of a running pod, or None when none was read lately."""

    def canary(self, pod_uid: str) -> CanaryRows | None:
        """Return the canary's rows in the log of a pod that a plan asked for; None when it was not read lately."""

    def guarded(self, namespace: str) -> bool | None:
        """Return whether everybody decides in their own name alone, if a plan lately asked for it, or None."""

    def warning(self, pod_uid: str) -> str | None:
        """Return the kubelet's last complaint about a pod that does not start, or None."""
