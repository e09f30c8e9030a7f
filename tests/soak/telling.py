"""Whether people were told of each attempt that did not end well: by one Event, and no second one."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from stagecoach.runtime.client import REQUEST_TIMEOUT
from tests.soak.audit import Write
from tests.soak.evidence import CONTROL_PLANE, STATUS, Evidence, key_of

Object = dict[str, Any]
Attempt = tuple[str, str, int]  # namespace and name of its run, and its number

# Of which nobody has to be warned: what goes on, went well, or was asked for.
WELL = {None, "Succeeded", "Suspended"}
NUMBER = re.compile(r"Attempt (\d+): ")
# An Event is written right after the status that it is about.
MOMENT = timedelta(seconds=5)
# A writer's patience begins this much sooner, at the most, than the API server hears of it.
CONNECTING = timedelta(seconds=5)
# After these an operator goes on as if nothing had been.
HARMLESS = {"step_clock"}


def every_bad_end_has_its_event(evidence: Evidence) -> Iterator[str]:
    """EveryFailureSpeaks: of an attempt that did not end well one Warning tells with its number.

    None may where the API server says that it could not take it. A fault may take a few, no more than there were faults.
    """
    warnings, faults_took = _warnings(evidence), set(taken(evidence))
    for attempt, outcome in _bad_ends(evidence):
        count = warnings[attempt]
        if count > 1 or (not count and attempt not in faults_took and not _was_refused(evidence, attempt)):
            namespace, name, number = attempt
            yield f"run {namespace}/{name}: attempt {number} ended as {outcome}, of which {count} Events warn"
    if len(faults_took) > len(evidence.hits):
        yield f"of {len(faults_took)} ends that no Event warns of, {len(evidence.hits)} faults explain at most as many"


def taken(evidence: Evidence) -> list[Attempt]:
    """Return the attempts that did not end well of which a fault may have taken the Event."""
    warnings = _warnings(evidence)
    ends = (attempt for attempt, _ in _bad_ends(evidence) if not warnings[attempt])
    return [each for each in ends if not _was_refused(evidence, each) and _may_be_taken(evidence, each)]


def _bad_ends(evidence: Evidence) -> Iterator[tuple[Attempt, str]]:
    for run in evidence.runs:
        for each in run.get("status", {}).get("attempts", ()):
            if each.get("outcome") not in WELL:
                yield (*key_of(run), each["number"]), each["outcome"]


def _warnings(evidence: Evidence) -> Counter[Attempt]:
    """Count the Events that warn of an attempt: those that are there, and those of which only the log still tells."""
    written = [write.request for write in evidence.accepted if _is_event(write)]
    found: Counter[Attempt] = Counter()
    for event in {key_of(event): event for event in (*written, *evidence.events)}.values():
        if attempt := _warns_of(event):
            found[attempt] += event.get("count") or 1
    return found


def _warns_of(event: Object) -> Attempt | None:
    about = event.get("involvedObject", {})
    number = NUMBER.match(event.get("message", ""))
    if number is None or about.get("kind") != "FineTuneRun" or event.get("type") != "Warning":
        return None
    return about["namespace"], about["name"], int(number[1])


def _is_event(write: Write) -> bool:
    return (write.verb, write.resource) == ("create", "events")


def _was_refused(evidence: Evidence, attempt: Attempt) -> bool:
    """Whether the API server could not take the Event, or could not answer the status before it."""
    end = _end(evidence, attempt)
    events = (write for write in evidence.writes if _is_event(write) and _warns_of(write.request) == attempt)
    return any(map(_could_not, events)) or (end is not None and (_could_not(end) or _was_too_slow(end)))


def _could_not(write: Write) -> bool:
    return write.code == HTTPStatus.TOO_MANY_REQUESTS or write.code >= HTTPStatus.INTERNAL_SERVER_ERROR


def _was_too_slow(write: Write) -> bool:
    """Whether its writer may have given up before the answer: to the writer it was not written then."""
    return _at(write.completed) - _at(write.received) >= timedelta(seconds=REQUEST_TIMEOUT) - CONNECTING


def _may_be_taken(evidence: Evidence, attempt: Attempt) -> bool:
    """Whether its writer, or to whom it writes, was hit between the status with the end and the writer's next Events."""
    end = _end(evidence, attempt)
    if end is None:
        return False
    since, moment = _at(end.received) - MOMENT, _at(end.completed) + MOMENT
    # Events of one writer come in their order: when one of what was later is there, none waits any more that is as old.
    events = (write for write in evidence.accepted if _is_event(write) and write.user == end.user)
    later = (_at(write.received) for write in events if _version(write.request["involvedObject"]) > _version_of(end))
    until = min((at for at in later if at > moment), default=None)
    return any(
        hit.victim in (end.user, CONTROL_PLANE)
        and hit.fault not in HARMLESS
        and hit.ended >= since
        and (until is None or hit.began <= until)
        for hit in evidence.hits
    )


def _version_of(write: Write) -> int:
    return _version(write.told["metadata"])


def _version(about: Object) -> int:
    """Return a version, which counts all writes of the cluster."""
    return int(about["resourceVersion"])


def _end(evidence: Evidence, attempt: Attempt) -> Write | None:
    """Return the first status that has the end of an attempt, or may have."""
    namespace, name, number = attempt
    for write in evidence.writes:
        if (write.resource, write.namespace, write.name) == (STATUS, namespace, name):
            listed = write.told.get("status", {}).get("attempts") or ()
            if any(each["number"] == number and each.get("outcome") for each in listed):
                return write
    return None


def _at(time: str) -> datetime:
    return datetime.fromisoformat(time)
