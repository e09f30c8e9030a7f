"""What a reconcile decided: the only way in which the pure part of the operator speaks to the part that does I/O."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

Object = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """An object of ours: what the work queue holds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def key_of(obj: Object) -> Key:
    """Return the key of an object of ours."""
    metadata = obj["metadata"]
    return Key(obj["kind"], metadata["namespace"], metadata["name"])


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event about the object."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Call:
    """A question to a pod of ours, over HTTP: asked beside the work, and answered as a fact (`View.answer`)."""

    pod_uid: str
    address: str  # of the pod
    port: int
    method: str  # GET or PUT
    path: str
    token: str = field(repr=False)  # shown as a bearer's
    body: bytes = field(default=b"", repr=False)
    later: bool = False  # after all others of the namespace, and few at a time: no request waits for the answer


@dataclass(frozen=True)
class Plan:
    """What to do now, in this order: write the status, then events, questions to pods, deletions, creations, applies.

    A refused status write ends the plan: the decision was taken on an old state and is taken anew. A refused deletion
    or creation ends both, since the next may need it; a refused apply ends nothing, but for Deployments after a
    NetworkPolicy. All else is done, and what was refused is shown in Ready. Whatever spends or
    cannot be undone is in `create` only when its intent stands in the *observed* status, so that a crash between two
    writes repeats and never doubles.
    """

    # The whole new status. None leaves it as it is, and with it the problem that Ready may show: not for a state that
    # lasts, unless Ready is known to say what it should.
    status: Object | None = None
    events: tuple[Event, ...] = ()  # emitted only when the status was written
    delete: tuple[Object, ...] = ()  # observed objects; deleted with their uid and resourceVersion as preconditions
    # POSTed under deterministic names; a name that exists is success. A Secret's name has to say what is in it: it is
    # never read.
    create: tuple[Object, ...] = ()
    # Server-side applied, as a whole. Of what is watched (Deployments, Services, ConfigMaps) only what is not as it
    # should be, with the observed uid and resourceVersion in its metadata if it is there: a stale writer is refused.
    # All else always: it is applied when it is another than before, and now and then.
    apply: tuple[Object, ...] = ()
    # Whether the plan's maker tells itself what of creations and applies is refused, by `View.refusals`: then Ready is
    # not touched.
    tells_refusals: bool = False
    requeue_after: float | None = None  # seconds
    # PersistentVolumeClaims to look at, by namespace and name; the object is reconciled again when that is done.
    look: tuple[tuple[str, str], ...] = ()
    # The pod, by name and uid, at the end of whose log are a canary's rows; reconciled again when they are read.
    read: tuple[str, str] | None = None
    # Ask whether everybody in the object's namespace can decide in their own name alone; reconciled again then.
    prove: bool = False
    # Asked at once, and not waited for; reconciled again when an answer is another than before.
    ask: tuple[Call, ...] = ()

    def within(self, seconds: float) -> Self:
        """Return the same plan, with the object looked at again in this time at the latest."""
        return replace(self, requeue_after=min(seconds, self.requeue_after or seconds))
