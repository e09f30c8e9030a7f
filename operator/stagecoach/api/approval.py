"""Approval: one decision of one person. It is created, and never changed."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from stagecoach.api.common import (
    BaseModel,
    Condition,
    CustomObject,
    Digest,
    Enum,
    Name,
    Optional,
    Text,
    Time,
    Told,
    cel,
    keyed,
    rules,
)
from stagecoach.api.review import MAX_RUBRIC, Account

# A name is not made into those of Jobs: it may be as long as a label.
MAX_APPROVAL_NAME = 63

Expiry = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "format": "date-time", "maxLength": 64}
        | rules(cel("self.getFullYear() >= 2000", "must be a time such as 2027-01-31T12:00:00Z"))
    ),
]


class SubjectKind(Enum):
    """What can be decided on."""

    EVALUATION = "Evaluation"
    MODEL_DEPLOYMENT = "ModelDeployment"


class Subject(BaseModel):
    """What is decided on."""

    kind: SubjectKind = Field(
        description="Evaluation: what a gate has judged. ModelDeployment: what is served, and how it takes over."
    )
    name: Name = Field(description="Its name, in the same namespace.")


class Decision(Enum):
    """What a person has decided."""

    APPROVE = "Approve"
    REJECT = "Reject"
    PROMOTE = "Promote"
    OVERRIDE = "Override"
    REVOKE = "Revoke"


# No Override lets anything be admitted for longer.
MAX_OVERRIDE = timedelta(hours=24)


class Score(BaseModel):
    """What a person gives for one of the rubric."""

    name: Name = Field(description="Name of one of the gate's review.rubric.")
    score: int = Field(ge=1, le=5, description="1 is the worst, 5 the best.")


class ApprovalSpec(BaseModel):
    """Who has decided what, about which release."""

    subject: Subject = Field(description="What is decided on.")
    release: Digest = Field(
        description="Identity of the release that was looked at: an Evaluation's spec.release.digest. It has to be the"
        " same; of a ModelDeployment it is that of what is served, a candidate, rejected or not admitted."
    )
    decision: Decision = Field(
        description="Of an Evaluation: Approve: this release may pass. Reject: it fails, whatever others say. Of a"
        " ModelDeployment: Promote: the candidate goes on from a step with hold Manual, or a rejected release is tried"
        " again. Override: this release may be admitted until expires, whatever gates say. Revoke: it gets no requests"
        " while this Approval is there."
    )
    reviewer: Account = Field(
        description="Name of who decides, as kubectl auth whoami shows it: of whoever creates this object, unless that"
        " is an account that brings objects from Git."
    )
    group: Optional[Account] = Field(
        None,
        description="The group as a member of which the reviewer decides, where the gate, or the ModelDeployment, names"
        " groups.",
    )
    scores: Optional[list[Score]] = Field(
        None,
        min_length=1,
        max_length=MAX_RUBRIC,
        description="A score for each of the gate's review.rubric; an Approve needs all of them.",
        json_schema_extra=keyed("name"),
    )
    reason: Optional[Text] = Field(None, description="Why, in words. A Reject, an Override and a Revoke need it.")
    expires: Optional[Expiry] = Field(
        None,
        description="When an Approve no longer counts, if there is no verdict by then, such as 2027-01-31T12:00:00Z;"
        " until when an Override lets the release be admitted, at most 24 hours from now.",
    )


SPEC_RULES = rules(
    cel("self == oldSelf", "an Approval's spec cannot change: create another"),
    cel(
        "self.decision != 'Reject' || has(self.reason)",
        "a Reject needs a reason, which the verdict tells: give reason",
    ),
    cel(
        "!(self.decision in ['Override', 'Revoke']) || has(self.reason)",
        "an Override and a Revoke need a reason, which the ModelDeployment tells: give reason",
    ),
    cel(
        "self.decision in ['Approve', 'Override'] || !has(self.expires)",
        "a Reject, a Promote and a Revoke do not expire: leave out expires",
    ),
    cel(
        "self.decision != 'Override' || has(self.expires)",
        "an Override ends: give expires, a time at most 24 hours from now",
    ),
    cel(
        "(self.subject.kind == 'Evaluation') == (self.decision in ['Approve', 'Reject'])",
        "an Evaluation is decided on by Approve or Reject, a ModelDeployment by Promote, Override or Revoke: give"
        " subject.kind that goes with decision",
    ),
    cel(
        "self.subject.kind == 'Evaluation' || !has(self.scores)",
        "scores are of a review: leave out scores, or decide on the Evaluation",
    ),
)

COLUMNS: list[dict[str, Any]] = [
    {"name": "Subject", "type": "string", "jsonPath": ".spec.subject.name"},
    {"name": "Decision", "type": "string", "jsonPath": ".spec.decision"},
    {"name": "Reviewer", "type": "string", "jsonPath": ".spec.reviewer"},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": '.status.conditions[?(@.type=="Ready")].message'},
]


class ApprovalStatus(Told):
    """What became of a decision."""

    observed_generation: Optional[int] = Field(None, description="The metadata.generation that this status is about.")
    conditions: list[Condition] = Field(
        [],
        max_length=8,
        description="Ready: whether it counts; Reconciling and Stalled as kstatus has them.",
        json_schema_extra=keyed("type"),
    )
    accepted: Optional[Time] = Field(
        None,
        description="Of a decision about a ModelDeployment: since when it counts, by who could decide then. Whoever"
        " loses the right to decide takes nothing back by that.",
    )
    refused: Optional[Time] = Field(
        None,
        description="Of a decision about a ModelDeployment: since when the operator knows that it was refused, such as"
        " of somebody who may not decide. It counts only if it is accepted within ten minutes of its creation.",
    )
    unguarded: Optional[Time] = Field(
        None,
        description="Of a Promote or an Override: when the operator saw that it could be in any name, for want of the"
        " policy by which everybody decides in their own. It never counts.",
    )


class Approval(CustomObject):
    """A decision of a person about a release, in their own name."""

    spec: ApprovalSpec = Field(description="Who has decided what, about which release.", json_schema_extra=SPEC_RULES)
    status: ApprovalStatus = Field(default_factory=ApprovalStatus, description="What became of it.")


def expiry(spec: ApprovalSpec) -> datetime | None:
    """Return when it expires, None: never. A time that cannot be read is over."""
    if spec.expires is None:
        return None
    try:
        read = datetime.fromisoformat(spec.expires.upper())
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return read if read.tzinfo else read.replace(tzinfo=UTC)
