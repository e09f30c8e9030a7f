"""Conditions: what an object says about itself, for people, kubectl wait, kstatus and Argo CD alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stagecoach.api.common import Condition, ConditionStatus
from stagecoach.contract.times import timestamp

MAX_MESSAGE = 2048
# The types that come and go; one that is not among them is a later version's, and stays.
TYPES = {
    *("Ready", "Reconciling", "Stalled", "Resolved", "InputsResolved", "Servable", "Complete", "Tracked"),
    *("Gated", "Loaded", "SLAMet", "CandidateAdmitted", "Autoscaled"),
}


@dataclass(frozen=True)
class Fact:
    """A condition before it is dated. `holds` None means Unknown."""

    type: str
    holds: bool | None
    reason: str
    message: str


def of(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """Return the condition of a type."""
    return next((condition for condition in conditions if condition.type == kind), None)


def said(condition: Condition) -> Fact:
    """Return what a condition says, to say it again."""
    holds = {ConditionStatus.TRUE: True, ConditionStatus.FALSE: False}.get(condition.status)
    return Fact(condition.type, holds, condition.reason, condition.message)


def in_progress(reason: str, message: str) -> tuple[Fact, ...]:
    """Return the conditions of an object that the operator, or something it waits for, is still working on."""
    return Fact("Ready", False, reason, message), Fact("Reconciling", True, reason, message)


def stalled(reason: str, message: str) -> tuple[Fact, ...]:
    """Return the conditions of an object that will not get on without a person."""
    return Fact("Ready", False, reason, message), Fact("Stalled", True, reason, message)


def ready(reason: str, message: str) -> tuple[Fact, ...]:
    """Return the conditions of an object that is as its spec wants it."""
    return (Fact("Ready", True, reason, message),)


def dated(facts: Sequence[Fact], before: Sequence[Condition], generation: int, now: datetime) -> list[Condition]:
    """Return the conditions; one whose status is unchanged keeps its time, so that equal facts make equal statuses.

    Reconciling and Stalled are there only while they hold, as kstatus has it.
    """
    known = {condition.type: condition for condition in before}
    told = {fact.type for fact in facts}
    later = [condition for condition in before if condition.type not in TYPES | told]
    return [*(_dated(fact, known.get(fact.type), generation, now) for fact in facts), *later]


def _dated(fact: Fact, before: Condition | None, generation: int, now: datetime) -> Condition:
    status = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}[fact.holds]
    unchanged = before is not None and before.status == status
    return Condition(
        type=fact.type,
        status=status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and unchanged else timestamp(now),
        reason=fact.reason,
        message=shortened(fact.message, MAX_MESSAGE),
    )


def shortened(text: str, longest: int) -> str:
    """Return a text of at most this length."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
