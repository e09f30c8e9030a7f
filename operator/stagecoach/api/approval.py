"""Approval: one decision of one person. It is created, and never changed."""

from datetime import UTC, datetime
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


class Subject(BaseModel):
    """What is decided on."""

    kind: SubjectKind = Field(description="Evaluation.")
    name: Name = Field(description="Its name, in the same namespace.")


class Decision(Enum):
    """What a person has decided."""

    APPROVE = "Approve"
    REJECT = "Reject"


class Score(BaseModel):
    """What a person gives for one of the rubric."""

    name: Name = Field(description="Name of one of the gate's review.rubric.")
    score: int = Field(ge=1, le=5, description="1 is the worst, 5 the best.")


class ApprovalSpec(BaseModel):
    """Who has decided what, about which release."""

    subject: Subject = Field(description="What is decided on.")
    release: Digest = Field(
        description="Identity of the release that was looked at: the Evaluation's spec.release.digest. It has to be the"
        " same."
    )
    decision: Decision = Field(description="Approve: this release may pass. Reject: it fails, whatever others say.")
    reviewer: Account = Field(
        description="Name of who decides, as kubectl auth whoami shows it: of whoever creates this object, unless that"
        " is an account that brings objects from Git."
    )
    group: Optional[Account] = Field(
        None, description="The group as a member of which the reviewer decides, where the gate names groups."
    )
    scores: Optional[list[Score]] = Field(
        None,
        min_length=1,
        max_length=MAX_RUBRIC,
        description="A score for each of the gate's review.rubric; an Approve needs all of them.",
        json_schema_extra=keyed("name"),
    )
    reason: Optional[Text] = Field(None, description="Why, in words. A Reject needs it.")
    expires: Optional[Expiry] = Field(
        None,
        description="When an Approve no longer counts, if there is no verdict by then, such as 2027-01-31T12:00:00Z.",
    )


SPEC_RULES = rules(
    cel("self == oldSelf", "an Approval's spec cannot change: create another"),
    cel(
        "self.decision != 'Reject' || has(self.reason)",
        "a Reject needs a reason, which the verdict tells: give reason",
    ),
    cel("self.decision == 'Approve' || !has(self.expires)", "a Reject does not expire: leave out expires"),
)

COLUMNS: list[dict[str, Any]] = [
    {"name": "Evaluation", "type": "string", "jsonPath": ".spec.subject.name"},
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
