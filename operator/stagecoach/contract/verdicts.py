"""What a gate says of a release: a verdict, and a result for each criterion."""

from enum import StrEnum

from pydantic import Field

from stagecoach.contract.digests import Digest
from stagecoach.contract.model import ContractModel

MAX_SUITES, MAX_CRITERIA = 8, 32


class Verdict(StrEnum):
    """What came of an evaluation. It is about admission: only Passed admits."""

    PASSED = "Passed"
    FAILED = "Failed"  # it was measured, and is not good enough
    INCONCLUSIVE = "Inconclusive"  # it was measured, and more rows are needed to tell
    ERROR = "Error"  # it was not measured


class Outcome(StrEnum):
    """What came of a criterion."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"
    SKIPPED = "Skipped"  # there is nothing to compare with, and the criterion says that it decides nothing then


class CriterionResult(ContractModel):
    """A criterion with the numbers that decided it. A number that there is none of is absent, never zero."""

    criterion: str
    outcome: Outcome
    advisory: bool = Field(False, description="It is told, and decides nothing.")
    value: float | None = Field(None, description="The metric of the candidate.")
    reference: float | None = Field(None, description="The metric of what it is compared with.")
    low: float | None = Field(
        None, description="Lower end of the interval of what decides: the value, or the difference to the reference."
    )
    high: float | None = Field(None, description="Upper end.")
    threshold: float | None = Field(None, description="What the value, or the difference, is held against.")
    mcnemar: float | None = Field(
        None, description="Of a difference of what is either right or wrong: p of McNemar's exact test, two-sided."
    )
    scored: int = Field(description="Rows with an answer that could be judged; of a criterion of a label, its rows.")
    needed: int | None = Field(
        None, description="Of an Inconclusive: about how many rows it would take to tell, if the difference stays."
    )
    message: str | None = Field(None, max_length=300, description="Why, in words; of what did not pass, always.")


class SuiteRows(ContractModel):
    """How much of a suite was judged."""

    rows: int = Field(description="Its rows, without those that repeat another one.")
    scored: int = Field(description="Rows with an answer of the release that could be judged.")


class EvaluationReport(ContractModel):
    """What an evaluation tells the operator. The report in the storage says more."""

    verdict: Verdict
    results: tuple[CriterionResult, ...]
    message: str = Field(max_length=700, description="The verdict in words.")
    record: Digest = Field(description="Digest of the record's content.")
    adopted: bool = Field(False, description="The record was there already; nothing was computed.")
    rows: int = Field(description="Rows of all suites, without those that repeat another one.")
    suites: tuple[SuiteRows, ...] = Field(
        (), description="Of each suite, in the order in which they were asked for. An evaluator of before says none."
    )
    leaked: int | None = Field(
        None, description="Rows that are in the training data too, or in the prompt. None: it is not known."
    )
    exposures: int = Field(0, description="How many releases the suites' data have judged, this one included.")
    canary: Digest | None = Field(
        None, description="Of a Passed that people have to look at: digest of the rows, which are in the pod's log."
    )
    seconds: float | None = None
