"""What the operator says of an Evaluation."""

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from stagecoach.api.approval import Score
from stagecoach.api.common import Condition, Digest, Enum, Optional, Time, Told, keyed
from stagecoach.api.review import MAX_APPROVALS, MAX_RUBRIC
from stagecoach.contract.reviews import MAX_PLACE, MAX_ROWS, MAX_SHOWN
from stagecoach.contract.verdicts import MAX_CRITERIA


class EvaluationPhase(Enum):
    """Where an Evaluation is, in one word."""

    PENDING = "Pending"
    RUNNING = "Running"
    AWAITING_REVIEW = "AwaitingReview"
    DECIDED = "Decided"


class EvaluationVerdict(Enum):
    """What came of an Evaluation."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


class Result(Told):
    """What came of a criterion."""

    criterion: str = Field(max_length=64, description="Its name.")
    outcome: str = Field(max_length=16, description="Passed, Failed, Inconclusive, Error or Skipped.")
    advisory: Optional[bool] = Field(None, description="true: it decides nothing.")
    value: Optional[float] = Field(None, description="The metric of the candidate.")
    reference: Optional[float] = Field(None, description="The metric of what it is compared with.")
    low: Optional[float] = Field(None, description="Lower end of the interval of what decides.")
    high: Optional[float] = Field(None, description="Upper end of it.")
    threshold: Optional[float] = Field(None, description="What the value, or the difference, is held against.")
    mcnemar: Optional[float] = Field(
        None, description="Of a difference of what is either right or wrong: p of McNemar's exact test, two-sided."
    )
    scored: int = Field(
        description="Rows with an answer that could be judged, of a criterion of a label those of the label; of"
        " human_<name>, the approvals that give a score."
    )
    needed: Optional[int] = Field(None, description="Of an Inconclusive: about how many rows it would take to tell.")
    message: Optional[str] = Field(None, max_length=300, description="Why, of what did not pass.")


class Report(Told):
    """The report and the record, in the project's storage."""

    uri: str = Field(
        max_length=1024, description="The folder with report.html for people, report.json and record.json."
    )
    digest: Digest = Field(
        description="Identity of record.json, which has those of the others; of record.<n>.json, if those before were"
        " damaged."
    )
    adopted: Optional[bool] = Field(None, description="true: the record was there already, and nothing was computed.")


class Attempt(Told):
    """One Job. It is written here before it is made."""

    number: int = Field(description="Counted from 1.")
    job: str = Field(max_length=63, description="Name of the Job.")
    decided: Time = Field(description="When the attempt was decided.")
    start: Optional[Time] = Field(None, description="When its pod started; nothing while it waits.")
    end: Optional[Time] = Field(None, description="When it was found to have ended.")
    outcome: Optional[str] = Field(None, max_length=64, description="How it ended.")
    message: Optional[str] = Field(None, max_length=2048, description="How it ended, in words.")


class CanaryRow(Told):
    """A row of the canary, as reviewers read it. Texts are cut."""

    row: str = Field(max_length=MAX_PLACE, description="Where it is: data set and position.")
    input: str = Field(max_length=MAX_SHOWN, description="What was asked.")
    expected: str = Field(max_length=MAX_SHOWN, description="What was expected.")
    candidate: Optional[str] = Field(
        None, max_length=MAX_SHOWN, description="What the release answered. Absent: nothing that could be used."
    )
    baseline: Optional[str] = Field(
        None, max_length=MAX_SHOWN, description="What the base model answered, where a criterion compares with it."
    )
    incumbent: Optional[str] = Field(
        None, max_length=MAX_SHOWN, description="What the release answered that was served, where one does with that."
    )


class CountedApproval(Told):
    """An approval that counts."""

    name: str = Field(max_length=63, description="Name of the Approval. It may be gone once there is a verdict.")
    uid: str = Field(max_length=64, description="Its metadata.uid: another of the same name is another decision.")
    reviewer: str = Field(max_length=256, description="Who approved.")
    as_: Optional[str] = Field(
        None, alias="as", max_length=256, description="The group as a member of which; absent: in their own name."
    )
    at: Time = Field(description="When the Approval was created.")
    scores: Optional[list[Score]] = Field(
        None, max_length=MAX_RUBRIC, description="What they gave.", json_schema_extra=keyed("name")
    )


class Rejection(Told):
    """The decision that let it fail."""

    name: str = Field(max_length=63, description="Name of the Approval that rejects.")
    uid: str = Field(max_length=64, description="Its metadata.uid.")
    reviewer: str = Field(max_length=256, description="Who rejected.")
    as_: Optional[str] = Field(
        None, alias="as", max_length=256, description="The group as a member of which; absent: in their own name."
    )
    at: Time = Field(description="When the Approval was created.")
    reason: str = Field(max_length=2048, description="Why, in their words.")


class Unguarded(Told):
    """A time in which an Approval could be in any name."""

    since: Time = Field(description="When the operator saw that the policy is missing.")
    until: Optional[Time] = Field(None, description="From when on approvals count again. Absent: it is still missing.")


class ReviewStatus(Told):
    """What people are asked about, and what they have decided."""

    asked: Time = Field(description="Since when reviewers can look at it: an approval from before does not count.")
    rows: list[CanaryRow] = Field(
        max_length=MAX_ROWS, description="The canary's rows, as they are read.", json_schema_extra=keyed("row")
    )
    approvals: list[CountedApproval] = Field(
        [],
        max_length=MAX_APPROVALS,
        description="Approvals that count, in the order in which they came.",
        json_schema_extra=keyed("name"),
    )
    rejected: Optional[Rejection] = Field(None, description="The decision that let it fail.")
    unguarded: Optional[Unguarded] = Field(
        None,
        description="The policy by which everybody decides in their own name alone was missing after people were asked:"
        " no approval counts that was created before the end of it. Absent: nobody saw it missing.",
    )


class EvaluationStatus(Told):
    """What came of an Evaluation."""

    observed_generation: Optional[int] = Field(None, description="The metadata.generation that this status is about.")
    phase: Optional[EvaluationPhase] = Field(
        None,
        description="Pending: its pod does not run yet. Running. AwaitingReview: it has met its criteria, and people"
        " have to look at it. Decided: there is a verdict.",
    )
    verdict: Optional[EvaluationVerdict] = Field(
        None,
        description="Passed, Failed, Inconclusive (more rows are needed to tell) or Error (it was not measured). Only"
        " Passed admits. It never changes.",
    )
    message: Optional[str] = Field(None, max_length=2048, description="The verdict in words.")
    start_time: Optional[Time] = Field(None, description="When the first attempt was decided.")
    completion_time: Optional[Time] = Field(None, description="When the verdict was there.")
    conditions: list[Condition] = Field(
        [],
        max_length=8,
        description="Ready, Complete; Reconciling and Stalled as kstatus has them.",
        json_schema_extra=keyed("type"),
    )
    results: Annotated[list[Result], Len(max_length=MAX_CRITERIA + MAX_RUBRIC)] = Field(
        [],
        description="What came of each criterion, and of each of the review's rubric as human_<name>.",
        json_schema_extra=keyed("criterion"),
    )
    rows: Optional[int] = Field(None, description="Rows of all suites.")
    leaked: Optional[int] = Field(
        None,
        description="Rows of the suites that are in the training data too, or in the prompt. Absent: it is not known.",
    )
    exposures: Optional[int] = Field(
        None, description="How many releases the suites' data have judged, this one included."
    )
    report: Optional[Report] = Field(None, description="The report and the record, in the project's storage.")
    review: Optional[ReviewStatus] = Field(
        None,
        description="What people are asked about, and what they have decided. Absent: nobody is asked, or not yet.",
    )
    attempt: Optional[Attempt] = Field(None, description="The newest Job.")
    failures: int = Field(0, description="Attempts that count against spec.retries.")
    interruptions: int = Field(0, description="How often an attempt was interrupted; these do not count as failures.")
    seconds: float = Field(0, description="How long pods ran, before this attempt; counts against spec.maxDuration.")
