"""What the operator says of an Evaluation."""

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from stagecoach.api.common import Condition, Digest, Enum, Optional, Time, Told, keyed
from stagecoach.contract.verdicts import MAX_CRITERIA


class EvaluationPhase(Enum):
    """Where an Evaluation is, in one word."""

    PENDING = "Pending"
    RUNNING = "Running"
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
    outcome: str = Field(max_length=16, description="Passed, Failed, Inconclusive or Error.")
    advisory: Optional[bool] = Field(None, description="true: it decides nothing.")
    value: Optional[float] = Field(None, description="The metric of the candidate.")
    reference: Optional[float] = Field(None, description="The metric of what it is compared with.")
    low: Optional[float] = Field(None, description="Lower end of the interval of what decides.")
    high: Optional[float] = Field(None, description="Upper end of it.")
    threshold: Optional[float] = Field(None, description="What the value, or the difference, is held against.")
    mcnemar: Optional[float] = Field(
        None, description="Of a difference of what is either right or wrong: p of McNemar's exact test, two-sided."
    )
    scored: int = Field(description="Rows with an answer that could be judged.")
    needed: Optional[int] = Field(None, description="Of an Inconclusive: about how many rows it would take to tell.")
    message: Optional[str] = Field(None, max_length=300, description="Why, of what did not pass.")


class Report(Told):
    """The report and the record, in the project's storage."""

    uri: str = Field(
        max_length=1024, description="The folder with report.html for people, report.json and record.json."
    )
    digest: Digest = Field(description="Identity of record.json, which has those of the others.")
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


class EvaluationStatus(Told):
    """What came of an Evaluation."""

    observed_generation: Optional[int] = Field(None, description="The metadata.generation that this status is about.")
    phase: Optional[EvaluationPhase] = Field(
        None,
        description="Pending: its pod does not run yet. Running. Decided: there is a verdict.",
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
    results: Annotated[list[Result], Len(max_length=MAX_CRITERIA)] = Field(
        [], description="What came of each criterion.", json_schema_extra=keyed("criterion")
    )
    rows: Optional[int] = Field(None, description="Rows of all suites.")
    leaked: Optional[int] = Field(
        None, description="Rows of the suites that are in the training data too. Absent: it is not known."
    )
    exposures: Optional[int] = Field(
        None, description="How many releases the suites' data have judged, this one included."
    )
    report: Optional[Report] = Field(None, description="The report and the record, in the project's storage.")
    attempt: Optional[Attempt] = Field(None, description="The newest Job.")
    failures: int = Field(0, description="Attempts that count against spec.retries.")
    interruptions: int = Field(0, description="How often an attempt was interrupted; these do not count as failures.")
    seconds: float = Field(0, description="How long pods ran, before this attempt; counts against spec.maxDuration.")
