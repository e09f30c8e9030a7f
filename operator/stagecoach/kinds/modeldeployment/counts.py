"""What a candidate has come to since its step began: from what gateways have counted, and what was seen of that before.

A gateway counts from its start on, whatever a release was to the deployment then; so what is added is what it counted
since it was last asked. The same answer, read twice, adds nothing.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from pydantic import ValidationError

from stagecoach.api.deployment_status import MAX_GATEWAYS, Candidate, Seen
from stagecoach.contract.gateway_counts import GatewayCounts
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.view import Answer

# Errors that speak against a release. Of the others, those of status 4xx are the client's, and say nothing of it;
# nothing_served and too_many_connections are told before a release is chosen, and too_many_hops is of deployments that
# fall back.
OURS = frozenset(
    {
        "engine_error",  # its engine failed, or what it computed is no answer
        "engine_unavailable",  # its engine cannot be reached
        "engine_timeout",  # its engine is too slow
        "contract_violation",  # what it answers is not what clients may rely on
        "internal_error",  # the gateway failed, with what this release made of a request
    }
)
# This may be the client's fault, or that of a release whose engine takes nothing: of a base without a chat template, or
# with less context than clients use. A client can have as many as it likes, so that they reject no candidate.
REFUSED = "engine_refused"
_NUMBERS = ("requests", "errors", "unanswered")
# An answer that is older may be one of a gateway that has started again since.
FRESH = timedelta(seconds=60)


def read(answer: Answer | None, deployment: str, now: datetime) -> GatewayCounts | None:
    """Return what a gateway of the deployment with this uid has lately said to GET /counts, or None."""
    if answer is None or answer.status != 200 or now - answer.at > FRESH:
        return None
    try:
        counts = GatewayCounts.model_validate_json(answer.body)
    except ValidationError:
        return None
    return counts if counts.deployment == deployment else None


def counted(
    candidate: Candidate, answers: Mapping[str, GatewayCounts], pods: Collection[str], revision: int
) -> Candidate:
    """Return the candidate with what gateways have counted by now.

    `answers` by the pod's uid; `pods` are the uids of all gateways that are there; `revision` is that of the routes in
    force: what is counted by others is left for later, since by these the candidate may have had another weight, or
    have been what is served. Before it has a weight, and of a gateway that is older than the step and was not seen in
    it, what was counted is only remembered: it is of before.
    """
    seen = {each.gateway: each for each in candidate.seen}
    requests, errors, unanswered = candidate.requests, candidate.errors, candidate.unanswered
    for uid, answer in sorted(answers.items()):
        if uid not in pods or not (uid in seen or _has_room(seen, pods)):
            continue
        if answer.revision != revision:
            continue
        now = _seen(uid, answer, candidate.release)
        before = seen.get(uid) or _first(now, answer, candidate)
        if _is_of_before(before):
            before = now
        if candidate.weight is not None and before is not now:
            since = before if before.started == now.started else _nothing(now)  # it began again
            requests += max(0, now.requests - since.requests)
            errors += max(0, now.errors - since.errors)
            unanswered += max(0, now.unanswered - since.unanswered)
        # Before it has a weight, what it had counted may be forgotten by a gateway, whose numbers then begin anew.
        seen[uid] = now if candidate.weight is None else _later(before, now)
    update = {"requests": requests, "errors": errors, "unanswered": unanswered}
    return candidate.model_copy(update=update | {"seen": [seen[uid] for uid in sorted(seen)]})


def _is_of_before(seen: Seen) -> bool:
    """Whether a version wrote it that knew no unanswered requests: its number has these, and what clients did wrong."""
    return "unanswered" not in seen.model_fields_set


def _has_room(seen: dict[str, Seen], pods: Collection[str]) -> bool:
    """Make room for one more: a gateway that is gone is remembered no longer than that takes, but as long."""
    if len(seen) == MAX_GATEWAYS and (gone := min(seen.keys() - set(pods), default=None)):
        del seen[gone]
    return len(seen) < MAX_GATEWAYS


def _seen(uid: str, answer: GatewayCounts, release: str) -> Seen:
    found = next((each for each in answer.releases if each.release == release), None)
    if found is None:
        return Seen(gateway=uid, started=timestamp(answer.started, "microseconds"), requests=0, errors=0, unanswered=0)
    ours = sum(number for code, number in found.errors.items() if code in OURS)
    theirs = sum(found.errors.values()) - ours
    return Seen(
        gateway=uid,
        started=timestamp(answer.started, "microseconds"),
        requests=found.requests - theirs - found.abandoned,
        errors=ours,
        unanswered=found.errors.get(REFUSED, 0) + found.abandoned,
    )


def _first(now: Seen, answer: GatewayCounts, candidate: Candidate) -> Seen:
    """Return what a gateway that was not seen before had counted when the step began."""
    began = candidate.step_since
    return _nothing(now) if began is not None and answer.started >= moment(began) else now


def _nothing(seen: Seen) -> Seen:
    return seen.model_copy(update=dict.fromkeys(_NUMBERS, 0))


def _later(before: Seen, now: Seen) -> Seen:
    """Return what to remember: numbers only grow while a gateway runs, so that lower ones are of before."""
    if before.started != now.started:
        return now
    return now.model_copy(update={name: max(getattr(before, name), getattr(now, name)) for name in _NUMBERS})
