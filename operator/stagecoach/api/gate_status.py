"""What the operator says of an EvalGate."""

from typing import Any

from pydantic import Field, field_validator

from stagecoach.api.common import Condition, Enum, Name, Optional, Time, Told, keyed
from stagecoach.api.of_a_release import OfARelease

# As many as spec.newest may be; deployments may ask about more.
MAX_CANDIDATES = 50
MAX_JUDGING = 8


class GatePhase(Enum):
    """Where a gate is, in one word."""

    BLOCKED = "Blocked"
    INCOMPLETE = "Incomplete"
    JUDGING = "Judging"
    AWAITING_REVIEW = "AwaitingReview"
    IDLE = "Idle"


class Verdicts(Told):
    """How many Evaluations of a gate came to which verdict."""

    passed: int = Field(description="Evaluations that passed.")
    failed: int = Field(description="Evaluations that failed.")
    inconclusive: int = Field(description="Evaluations whose rows were too few to tell.")
    error: int = Field(description="Evaluations that could not measure.")


class LatestVerdict(OfARelease):
    """The verdict that was decided last."""

    evaluation: Name = Field(description="The Evaluation.")
    verdict: str = Field(max_length=16, description="Its verdict.")
    at: Time = Field(description="When it was decided.")


class JudgedRun(OfARelease):
    """A candidate that is being judged."""

    evaluation: Name = Field(description="The Evaluation.")


class ReviewedRun(OfARelease):
    """A candidate that people are to look at."""

    evaluation: Name = Field(description="The Evaluation, whose message says who may decide.")


class WaitingRun(OfARelease):
    """A candidate that is judged when others are done."""


class UnjudgedRun(OfARelease):
    """A candidate that cannot be judged."""

    reason: str = Field(max_length=64, description="Why, in one word.")
    message: str = Field(max_length=512, description="Why, in words, with what to do about it.")


class EvalGateStatus(Told):
    """What came of the candidates."""

    observed_generation: Optional[int] = Field(None, description="The metadata.generation that this status is about.")
    phase: Optional[GatePhase] = Field(
        None,
        description="Blocked: it waits for its project. Incomplete: something needs you, see Ready. Judging: a"
        " candidate is being judged. AwaitingReview: people have to decide about one. Idle: all of the newest"
        " candidates that can be judged have a verdict.",
    )
    conditions: list[Condition] = Field(
        [],
        max_length=8,
        description="Ready; Reconciling and Stalled as kstatus has them.",
        json_schema_extra=keyed("type"),
    )
    verdicts: Optional[Verdicts] = Field(
        None,
        description="How many Evaluations of this gate came to which verdict, also those of an earlier text of it.",
    )
    latest: Optional[LatestVerdict] = Field(None, description="The verdict that was decided last.")
    judging: list[JudgedRun] = Field(
        [],
        max_length=MAX_JUDGING,
        description="Candidates that are being judged.",
        json_schema_extra=keyed("evaluation"),
    )
    reviewing: list[ReviewedRun] = Field(
        [],
        max_length=MAX_CANDIDATES,
        description="Candidates that have met the criteria and await review.",
        json_schema_extra=keyed("evaluation"),
    )
    waiting: list[WaitingRun] = Field(
        [],
        max_length=MAX_CANDIDATES,
        description="Candidates that are judged after these, in this order: the first fifty.",
    )
    unjudged: list[UnjudgedRun] = Field(
        [],
        max_length=MAX_CANDIDATES,
        description="Candidates that cannot be judged: the first fifty.",
    )

    @field_validator("phase", mode="before")
    @classmethod
    def _known(cls, word: Any) -> Any:
        """Forget a word of a later version: it is only for people, and said anew."""
        return None if isinstance(word, str) and word not in {each.value for each in GatePhase} else word
