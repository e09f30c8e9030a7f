"""The operator's memory: our objects, who refers to whom, children by owner, and facts."""

import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stagecoach.contract.reports import Progress
from stagecoach.contract.reviews import CanaryRows
from stagecoach.kinds.controller import OWNER_KIND, OWNER_NAME, OWNER_UID, Controller
from stagecoach.kinds.plan import Call, Key, Object, key_of
from stagecoach.kinds.view import Answer, Read
from stagecoach.policies.sharing import Claim
from stagecoach.runtime import trim
from stagecoach.runtime.guard import guarded
from stagecoach.runtime.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SERVICES, Resource

# A progress line older than this says nothing about now. Of many that train, each is asked more rarely than that: then
# there is none in between, and the status keeps what was told last.
PROGRESS_AGE = 60.0
# Nor does a claim that was looked at before this time: it may have been made anew.
CLAIM_AGE = 30.0
# A canary's rows are in the status as soon as they were read.
CANARY_AGE = 30.0
# A policy of the cluster may go.
GUARD_AGE = 30.0
# What is refused is tried again sooner, as long as it is wanted.
REFUSAL_AGE = 120.0
# What was changed by somebody is applied again no sooner after the last time: they may do it again and again.
MENDED_AGAIN = 60.0
TOMBSTONES = 4096

_Place = tuple[Resource, str, str]  # a sort of children, their namespace, and the uid of whom they were made for


def owner_key(child: Object) -> Key | None:
    """Return the key of the object that a child was made for, by its labels."""
    labels = child["metadata"].get("labels") or {}
    kind, name = labels.get(OWNER_KIND), labels.get(OWNER_NAME)
    return Key(kind, child["metadata"]["namespace"], name) if kind and name else None


def made_for(uid: str, resource: Resource, child: Object) -> bool:
    """Whether a child was made for the object with this uid: by its label, which everybody may write.

    What is ours alone says so as its owner, too. Of a Job and of a pod the label has to do: a pod's owner is a Job or a
    ReplicaSet. So whoever may create pods in the object's own namespace can have one taken for its engine or gateway,
    and be told the tokens; they may as well mount there the Secret in which these are.
    """
    metadata = child["metadata"]
    owners = {each["uid"] for each in metadata.get("ownerReferences") or ()}
    return _owner_uid(child) == uid and (resource in (JOBS, PODS) or uid in owners)


def _owner_uid(child: Object) -> str:
    return str((child["metadata"].get("labels") or {}).get(OWNER_UID, ""))


def _place(resource: Resource, child: Object) -> _Place:
    return resource, child["metadata"]["namespace"], _owner_uid(child)


class Tombstones:
    """The uids that are gone for good, so that a late answer about one does not bring it back."""

    def __init__(self, size: int = TOMBSTONES) -> None:
        self._size = size
        self._uids: OrderedDict[str, None] = OrderedDict()

    def add(self, uid: str) -> None:
        """Remember a uid, and forget the oldest beyond the size."""
        self._uids[uid] = None
        if len(self._uids) > self._size:
            self._uids.popitem(last=False)

    def discard(self, uid: str) -> None:
        """Forget a uid: a list, which is never late, has it again."""
        self._uids.pop(uid, None)

    def __contains__(self, uid: str) -> bool:
        return uid in self._uids


class Cache:
    """What is known. It implements the `View` of the pure part; it may lag, and never blocks."""

    def __init__(self, controllers: Iterable[Controller], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._references = {each.kind: guarded(each.references) for each in controllers}
        self._objects: dict[Key, Object] = {}
        self._homes: dict[str, str] = {}  # the namespace of each, by its uid
        self._read: dict[Key, Any] = {}
        self._refers: dict[Key, tuple[Key, ...]] = {}
        self._referrers: defaultdict[Key, set[Key]] = defaultdict(set)
        self._children: dict[str, tuple[Resource, Object]] = {}
        self._by_owner: defaultdict[_Place, dict[str, Object]] = defaultdict(dict)
        self._live: dict[str, Object] = {}
        self._progress: dict[str, tuple[float, Progress]] = {}
        self._warnings: dict[str, str] = {}
        self._claims: dict[tuple[str, str], tuple[float, Claim]] = {}
        self._canaries: dict[str, tuple[float, CanaryRows]] = {}
        self._guarded: dict[str, tuple[float, bool]] = {}
        self._answers: defaultdict[str, dict[tuple[str, str], Answer]] = defaultdict(dict)
        self._applied: dict[str, tuple[float, str]] = {}  # when each was last applied by us, and what it was then
        self._refusals: dict[str, dict[tuple[str, str], tuple[float, str]]] = {}  # by the uid of whom they befell
        self._gone = Tombstones()

    # What the pure part reads.

    def get(self, key: Key) -> Object | None:
        """Return one of our own objects, or None."""
        return self._objects.get(key)

    def read(self, key: Key, read: Callable[[Object], Read]) -> Read | None:
        """Return one of our own objects as `read` has it, or None: a project is read once, not for each of its runs."""
        obj = self._objects.get(key)
        if obj is None:
            return None
        if key not in self._read:
            self._read[key] = read(obj)
        found: Read = self._read[key]
        return found

    def referrers(self, key: Key) -> Iterable[Object]:
        """Return the objects that refer to this one, or that share it."""
        return [self._objects[each] for each in self._referrers.get(key, ())]

    def everything(self) -> Iterable[Object]:
        """Return all of our own objects, of every kind and namespace that is served."""
        return list(self._objects.values())

    def jobs(self, uid: str) -> Sequence[Object]:
        """Return the Jobs made for the object with this uid."""
        return self._owned(JOBS, uid)

    def pods(self, uid: str) -> Sequence[Object]:
        """Return the pods of these Jobs."""
        return self._owned(PODS, uid)

    def services(self, uid: str) -> Sequence[Object]:
        """Return the Services made for the object with this uid."""
        return [self._as_applied(each) for each in self._owned(SERVICES, uid)]

    def deployments(self, uid: str) -> Sequence[Object]:
        """Return the Deployments made for the object with this uid."""
        return [self._as_applied(each) for each in self._owned(DEPLOYMENTS, uid)]

    def config_maps(self, uid: str) -> Sequence[Object]:
        """Return the ConfigMaps made for the object with this uid; with the data that trim keeps."""
        return [self._as_applied(each) for each in self._owned(CONFIG_MAPS, uid)]

    def answer(self, pod_uid: str, method: str, path: str) -> Answer | None:
        """Return what a pod last said to a Call of this method and path, however long ago, or None."""
        return self._answers[pod_uid].get((method, path)) if pod_uid in self._answers else None

    def refusals(self, uid: str) -> Mapping[tuple[str, str], str]:
        """Return what was refused when it was last tried of what the object with this uid wanted, by kind and name."""
        now, known = self._clock(), self._refusals.get(uid, {})
        return {place: words for place, (tried, words) in known.items() if now - tried <= REFUSAL_AGE}

    def claim(self, namespace: str, name: str) -> Claim | None:
        """Return what was lately seen of a PersistentVolumeClaim that a plan asked for, or None."""
        seen, claim = self._claims.get((namespace, name), (0.0, None))
        return claim if claim is not None and self._clock() - seen <= CLAIM_AGE else None

    def progress(self, pod_uid: str) -> Progress | None:
        """Return the last progress line of a running pod, or None when none was read lately."""
        read, progress = self._progress.get(pod_uid, (0.0, None))
        return progress if progress is not None and self._clock() - read <= PROGRESS_AGE else None

    def canary(self, pod_uid: str) -> CanaryRows | None:
        """Return the canary's rows in the log of a pod that a plan asked for; None when it was not read lately."""
        read, rows = self._canaries.get(pod_uid, (0.0, None))
        return rows if rows is not None and self._clock() - read <= CANARY_AGE else None

    def guarded(self, namespace: str) -> bool | None:
        """Return whether everybody decides in their own name alone there; None when nobody asked lately."""
        seen, guarded = self._guarded.get(namespace, (0.0, None))
        return guarded if guarded is not None and self._clock() - seen <= GUARD_AGE else None

    def warning(self, pod_uid: str) -> str | None:
        """Return the kubelet's last complaint about a pod that does not start, or None."""
        return self._warnings.get(pod_uid)

    # What the runtime reads and writes.

    def keys(self) -> list[Key]:
        """Return the keys of all our objects."""
        return list(self._objects)

    def live(self) -> list[Object]:
        """Return the pods that have not ended, and the Jobs that should have a pod and have none.

        They are few, of the many that are kept for their last words.
        """
        return list(self._live.values())

    def phases(self) -> Counter[tuple[str, str]]:
        """Count our objects by kind and phase."""
        return Counter((key.kind, (obj.get("status") or {}).get("phase", "")) for key, obj in self._objects.items())

    def overridden(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield namespace, ModelDeployment, release and place in the status of what an Override has let in."""
        for key, obj in self._objects.items():
            status = (obj.get("status") or {}) if key.kind == "ModelDeployment" else {}
            told = ((place, status.get(place) or {}) for place in ("serving", "candidate"))
            yield from ((key.namespace, key.name, each["release"], at) for at, each in told if each.get("override"))

    def autoscaled(self) -> Iterator[tuple[str, str, int]]:
        """Yield namespace, ModelDeployment and number of engine pods, where that follows what waits."""
        for key, obj in self._objects.items():
            told = (obj.get("status") or {}).get("autoscaling") if key.kind == "ModelDeployment" else None
            if told:
                yield key.namespace, key.name, told["wanted"]

    def pod(self, uid: str) -> Object | None:
        """Return one pod made for an object of ours, or None."""
        return self._children[uid][1] if uid in self._children else None

    def children_of(self, resource: Resource, namespace: str | None) -> list[Object]:
        """Return the known children of a sort, in a namespace or anywhere."""
        return [
            obj
            for kind, obj in self._children.values()
            if kind == resource and namespace in (None, obj["metadata"]["namespace"])
        ]

    def store(self, obj: Object, *, listed: bool = False) -> bool:
        """Remember an object of ours; return False when that is not news.

        Our own writes come back twice, as an answer and as an event, and in any order. A listed object always counts:
        after a restore of etcd the versions start again from an older one.
        """
        key, metadata = key_of(obj), obj["metadata"]
        if not self._is_news(self._objects.get(key), metadata, listed=listed):
            return False
        self._leave_home(key)
        self._objects[key] = trimmed = trim.own(obj)
        self._homes[metadata["uid"]] = key.namespace
        self._read.pop(key, None)
        self._point(key, self._references[key.kind](trimmed))
        return True

    def remove(self, obj: Object) -> bool:
        """Forget an object of ours; return False when it is not known, or replaced by a newer one of its name."""
        key, uid = key_of(obj), obj["metadata"]["uid"]
        self._gone.add(uid)
        known = self._objects.get(key)
        if known is None or known["metadata"]["uid"] != uid:
            return False
        self._leave_home(key)
        del self._objects[key]
        self._read.pop(key, None)
        self._refusals.pop(uid, None)
        self._point(key, ())
        return True

    def store_child(self, resource: Resource, obj: Object, *, listed: bool = False) -> bool:
        """Remember a child; return False when that is not news, or nothing that a decision could depend on."""
        metadata = obj["metadata"]
        uid = metadata["uid"]
        known = self._children.get(uid)
        if not self._is_news(known[1] if known else None, metadata, listed=listed):
            return False
        self._disown(resource, uid)
        trimmed = trim.child(resource, obj)
        self._children[uid] = (resource, trimmed)
        if made_for(_owner_uid(trimmed), resource, trimmed):
            self._by_owner[_place(resource, trimmed)][uid] = trimmed
        self._mark_live(uid, trimmed)
        return known is None or not trim.same(known[1], trimmed)

    def remove_child(self, resource: Resource, obj: Object) -> None:
        """Forget a child and the facts about it."""
        uid = obj["metadata"]["uid"]
        self._gone.add(uid)
        self._progress.pop(uid, None)
        self._warnings.pop(uid, None)
        self._answers.pop(uid, None)
        self._live.pop(uid, None)
        self._applied.pop(uid, None)
        self._disown(resource, uid)
        self._children.pop(uid, None)

    def set_applied(self, child: Object) -> None:
        """Remember a child as it is after it was applied."""
        self._applied[child["metadata"]["uid"]] = self._clock(), _written(child)

    def set_progress(self, pod_uid: str, progress: Progress) -> bool:
        """Remember a progress line as read now; return whether it differs from the last."""
        before = self._progress.get(pod_uid)
        self._progress[pod_uid] = (self._clock(), progress)
        return before is None or before[1] != progress

    def set_claim(self, namespace: str, name: str, claim: Claim) -> None:
        """Remember a claim as seen now, and forget those that were seen long ago."""
        now = self._clock()
        self._claims = {key: each for key, each in self._claims.items() if now - each[0] <= CLAIM_AGE}
        self._claims[namespace, name] = now, claim

    def set_canary(self, pod_uid: str, rows: CanaryRows) -> None:
        """Remember a canary's rows as read now, and forget those that were read long ago."""
        now = self._clock()
        self._canaries = {uid: each for uid, each in self._canaries.items() if now - each[0] <= CANARY_AGE}
        self._canaries[pod_uid] = now, rows

    def set_answer(self, call: Call, answer: Answer) -> bool:
        """Remember what a pod said, unless it is gone; return whether it says or was told anything else than before."""
        if call.pod_uid not in self._children:
            return False
        answers, topic = self._answers[call.pod_uid], (call.method, call.path)
        before = answers.get(topic)
        answers[topic] = answer
        return before is None or replace(before, at=answer.at) != answer

    def set_refusal(self, uid: str, wanted: Object, words: str | None) -> bool:
        """Remember, or with None forget, why an object was refused to the one with this uid; return whether it is news.

        What was tried long ago is not wanted any more, and is forgotten.
        """
        known, place, now = self.refusals(uid), (wanted["kind"], wanted["metadata"]["name"]), self._clock()
        kept = {at: each for at, each in self._refusals.pop(uid, {}).items() if at in known and at != place}
        if words is not None and uid in self._homes:
            kept[place] = now, words
        if kept:
            self._refusals[uid] = kept
        return words != known.get(place)

    def set_guarded(self, namespace: str, guarded: bool) -> None:
        """Remember whether everybody decides in their own name alone there, as seen now."""
        self._guarded[namespace] = self._clock(), guarded

    def set_warning(self, pod_uid: str, message: str | None) -> bool:
        """Remember, or with None forget, a pod's warning; return whether it differs from the last."""
        before = self._warnings.pop(pod_uid, None)
        if message is not None and pod_uid in self._children:
            self._warnings[pod_uid] = message
        return before != message

    def _is_news(self, known: Object | None, metadata: Object, *, listed: bool) -> bool:
        if listed:
            self._gone.discard(metadata["uid"])
        elif metadata["uid"] in self._gone:
            return False
        if known is None:
            return True
        before = known["metadata"]
        if before["uid"] != metadata["uid"]:
            # Of two objects with one name the later one lives.
            return str(metadata["creationTimestamp"]) >= str(before["creationTimestamp"])
        if listed:
            return bool(before["resourceVersion"] != metadata["resourceVersion"])
        # Comparing versions as numbers is part of the API since Kubernetes 1.35, and held in every version before.
        return int(metadata["resourceVersion"]) > int(before["resourceVersion"])

    def _leave_home(self, key: Key) -> None:
        if key in self._objects:
            self._homes.pop(self._objects[key]["metadata"]["uid"], None)

    def _owned(self, resource: Resource, uid: str) -> list[Object]:
        """Return the children of an object that is known: in its namespace, whatever others say in theirs."""
        namespace = self._homes.get(uid)
        return list(self._by_owner.get((resource, namespace, uid), {}).values()) if namespace is not None else []

    def _as_applied(self, child: Object) -> Object:
        """Return a child, of which it is not said as what it was applied when somebody may have changed it since.

        Then it is applied again, as all is once by each process: what happened while nobody watched is not known.
        """
        metadata = child["metadata"]
        since, written = self._applied.get(metadata["uid"], (float("-inf"), ""))
        if written == _written(child) or self._clock() - since < MENDED_AGAIN:
            return child
        return child | {"metadata": {field: each for field, each in metadata.items() if field != "annotations"}}

    def _mark_live(self, uid: str, child: Object) -> None:
        if _is_live(child):
            self._live[uid] = child
        else:
            self._live.pop(uid, None)

    def _disown(self, resource: Resource, uid: str) -> None:
        known = self._children.get(uid)
        if known is None:
            return
        place = _place(resource, known[1])
        self._by_owner[place].pop(uid, None)
        if not self._by_owner[place]:
            del self._by_owner[place]

    def _point(self, key: Key, targets: tuple[Key, ...]) -> None:
        for target in self._refers.pop(key, ()):
            self._referrers[target].discard(key)
            if not self._referrers[target]:
                del self._referrers[target]
        for target in targets:
            self._referrers[target].add(key)
        if targets:
            self._refers[key] = targets


def _written(child: Object) -> str:
    """Return what changes with each write of a child, but for its status."""
    metadata = child["metadata"]
    return str(metadata.get("generation") or metadata["resourceVersion"])


def _is_live(child: Object) -> bool:
    status = child["status"]
    if child["kind"] == "Pod":
        return status.get("phase") not in ("Succeeded", "Failed")
    if child["kind"] != "Job":
        return False
    several = child["spec"].get("parallelism", 1)
    busy = status.get("active", 0) >= several or status.get("terminating") or status.get("conditions")
    return not busy and not child["spec"].get("suspend")
