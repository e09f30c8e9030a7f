"""Why the pods of a Deployment are not all up, while others of it serve: nobody would hear of it otherwise."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from stagecoach.kinds.modeldeployment.pods import Complaint, Pod, first_complaint
from stagecoach.kinds.plan import Object

# A pod that starts in this time has nothing to say; and an autoscaler of nodes has begun to make room.
PATIENCE = timedelta(seconds=60)
MEET_THE_RULE = "Raise the quota, or meet the rule, that it names."


def complaint(found: Object | None, pods: Sequence[Pod], now: datetime) -> Complaint | None:
    """Return what keeps a Deployment from being as it should be, once it had some time for that."""
    late = [pod for pod in pods if not pod.ready and pod.changed is not None and now - pod.changed > PATIENCE]
    return refused(found) or first_complaint(late) or _out_of_time(found)


def refused(found: Object | None) -> Complaint | None:
    """Return what the cluster says that refuses a Deployment's pods."""
    condition = _condition(found, "ReplicaFailure")
    if condition.get("status") != "True":
        return None
    return Complaint("PodRefused", f"{_says(found, 'gets no pod', condition)}. {MEET_THE_RULE}")


def refused_since(found: Object | None) -> datetime | None:
    """Return since when the cluster has refused a Deployment's pods."""
    condition = _condition(found, "ReplicaFailure")
    since = condition.get("lastTransitionTime") if condition.get("status") == "True" else None
    return datetime.fromisoformat(since) if since else None


def podless_since(found: Object | None, silent: datetime | None) -> datetime | None:
    """Return since when a Deployment that has no pod may have had none.

    What it says is told after its pod went, or never, without its controller: where it says that some are up, it is
    since none has answered.
    """
    up = _condition(found, "Available")
    told = up.get("lastTransitionTime") if up else (found or {}).get("metadata", {}).get("creationTimestamp")
    since = datetime.fromisoformat(told) if told else None
    if up.get("status") != "True":
        return since
    return max(since, silent) if since and silent else None


def _out_of_time(found: Object | None) -> Complaint | None:
    condition = _condition(found, "Progressing")
    if condition.get("status") != "False":
        return None
    words = _says(found, "has newer pods that do not become ready", condition)
    return Complaint("PodsNotReady", f"{words}. See their logs, and what kubectl describe says of them.")


def _condition(found: Object | None, kind: str) -> Object:
    conditions = (found or {}).get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == kind), {})


def _says(found: Object | None, what: str, condition: Object) -> str:
    name = found["metadata"]["name"] if found else ""
    return f"Deployment {name} {what}: {condition.get('message', '')}".rstrip(". :")
