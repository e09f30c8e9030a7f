"""What report.json holds: all that was measured, for programs. The page beside it, report.html, shows the same.

A number that there is none of is absent, never zero. Every list is bounded, and beside one that may have been cut
stands how many there are.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from stagecoach.contract.digests import Digest
from stagecoach.contract.evaluations import EvaluationInputs, SuiteType
from stagecoach.contract.jobs import Owner, Subject
from stagecoach.contract.model import ContractModel
from stagecoach.contract.records import BaseRecord
from stagecoach.contract.releases import Asked, Release
from stagecoach.contract.verdicts import CriterionResult, Verdict

Number = Annotated[float, Field(allow_inf_nan=False)]

MAX_WORST = 500  # of all suites together
MAX_CANARIES = 100
MAX_LABELS = 100
MAX_CONFUSIONS = 100
MAX_METRICS = 100
MAX_REASONS = 20
MAX_LEAKED = 100
MAX_TEXT = 1000


class Estimate(ContractModel):
    """A number that was measured, with its interval."""

    value: Number
    low: Number | None = Field(None, description="Lower end; None: there is no interval.")
    high: Number | None = None


class Measured(ContractModel):
    """A metric of a suite. None of the candidate: it is undefined, and the message says why."""

    metric: str
    label: str | None = Field(None, description="Of a metric that there is for each label.")
    candidate: Estimate | None = None
    baseline: Estimate | None = None
    difference: Estimate | None = Field(None, description="Candidate less baseline, by the same rows.")
    incumbent: Estimate | None = Field(None, description="Of what was served.")
    incumbent_difference: Estimate | None = Field(None, description="Candidate less incumbent, by the same rows.")
    confidence: Number = Field(0.95, gt=0, lt=1, description="Of the intervals, each of them two-sided.")
    detectable: Number | None = Field(
        None,
        description="The smallest distance that so many rows show in four of five evaluations (power 0.8): of the"
        " difference from zero (to the incumbent, where there is one) or, with nothing to compare with, of the value"
        " from a bound.",
    )
    message: str | None = Field(None, max_length=300)


class Paired(ContractModel):
    """In how many rows candidate and baseline were right, of those that both have an answer to."""

    both: int
    only_candidate: int
    only_baseline: int
    neither: int


class PairedIncumbent(ContractModel):
    """The same of candidate and incumbent."""

    both: int
    only_candidate: int
    only_incumbent: int
    neither: int


class OfLabel(ContractModel):
    """How well a release told one label from the others. None: there is nothing to divide by."""

    rows: int = Field(
        description="How often it was expected in the rows that have an answer. Of a TokenClassification: entities."
    )
    answered: int = Field(description="How often it was the answer.")
    right: int
    precision: Number | None = None
    recall: Number | None = None
    f1: Number | None = None


class ClassResult(OfLabel):
    """The candidate's, and beside it those of what it is compared with."""

    label: str
    baseline_f1: Number | None = None
    incumbent: OfLabel | None = Field(
        None, description="None: there is no incumbent, or the label was neither expected in its rows nor its answer."
    )


class Cell(ContractModel):
    """How often one label was answered where another, or the same, was expected."""

    expected: str
    answered: str
    count: int


class Confusion(ContractModel):
    """Which labels are taken for which. Of a TokenClassification: of tags, without B- and I-.

    They are counted word by word or, where spans are marked in a text, character by character.
    """

    labels: tuple[str, ...] = Field(
        max_length=MAX_LABELS + 1, description="In the matrix's order. None where there are too many labels for one."
    )
    cells: tuple[Cell, ...] = Field(description="Those of the matrix that are not zero, by expected and answered.")
    most: tuple[Cell, ...] = Field(max_length=MAX_CONFUSIONS, description="The most frequent mistakes of all labels.")
    mistakes: int = Field(description="All of them.")


class Bin(ContractModel):
    """The answers of about one probability."""

    low: Number
    high: Number
    rows: int
    confidence: Number = Field(description="Mean probability that the model gave to its answers.")
    accuracy: Number = Field(description="Share of them that is right.")
    accuracy_low: Number = Field(description="Lower end of the share's interval: Wilson's, at 0.95.")
    accuracy_high: Number


class Reliability(ContractModel):
    """Whether the model is as often right as it says. Only where it gives probabilities."""

    rows: int
    error: Number = Field(description="Expected calibration error: the bins' mean distance, weighted by their rows.")
    bins: tuple[Bin, ...] = Field(max_length=10)


class Told(ContractModel):
    """A row, shown with its answers. Texts are cut to what a person reads."""

    place: str = Field(description="Where the row is: data set and position.")
    input: str
    expected: str
    candidate: str | None = Field(None, description="None: there is no answer, and the problem says why.")
    baseline: str | None = None
    incumbent: str | None = None
    right: bool | None = Field(None, description="None: it was not scored.")
    baseline_right: bool | None = None
    incumbent_right: bool | None = None
    problem: str | None = Field(None, description="Why there is no answer of the candidate.")
    baseline_problem: str | None = None
    incumbent_problem: str | None = None
    weight: Number | None = Field(None, description="Of a wrong answer: what it was ordered by.")


class WorstBy(StrEnum):
    """What makes a wrong answer worse than another."""

    CONFIDENCE = "Confidence"  # the probability that the model gave to it, the higher the worse
    CONFUSIONS = "Confusions"  # how many rows have the same two labels, the more the worse
    OVERLAP = "Overlap"  # how much it is like what was expected, letter pair by letter pair, the lower the worse
    RANK = "Rank"  # where the passage was found, the higher the number the worse
    ENTITIES = "Entities"  # how many entities are missing or too many, the more the worse


class Worst(ContractModel):
    """Wrong answers, the worst first."""

    by: WorstBy
    rows: tuple[Told, ...] = Field(max_length=MAX_WORST)
    wrong: int = Field(description="All wrong answers.")


class Unscored(ContractModel):
    """Why rows have no answer."""

    reason: str
    rows: int


class Exposure(ContractModel):
    """How often a data set has judged, and when that is too often.

    A release exactly at the bound is admitted by chance in (1 - confidence) / 2 of all evaluations. Of `releases` such,
    judged by the same rows, at least one is admitted with a probability of up to `releases` times that. Too many it is
    where this bound reaches one half: then that one of them passed says little.
    """

    releases: int = Field(description="Releases that the data have judged, this one included.")
    many: int = Field(description="From how many on it is too often.")
    by_chance: Number = Field(description="The bound for so many releases, at most 1.")
    confidence: Number = Field(description="The lowest of the suite's criteria; 0: one of them has none.")


class Leaked(ContractModel):
    """A row that is in the training data too, or in the prompt."""

    place: str
    input: str | None = None
    prompt: str | None = Field(None, description="The part of the candidate's prompt that it stands in, if it does.")


class SuiteReport(ContractModel):
    """What was measured on a suite."""

    name: str
    type: SuiteType
    dataset: str
    data: Digest
    task: str | None = Field(None, description="The task of lm-evaluation-harness that the suite is, if it is one.")
    rows: int = Field(description="Without those that repeat another one.")
    repeated: int = Field(0, description="Rows that repeat another one, and are not counted.")
    scored: int
    empty: int = Field(0, description="Answers of the candidate that are empty texts: they are scored, and wrong.")
    unscored: tuple[Unscored, ...] = Field(
        max_length=MAX_REASONS, description="Why rows have no answer of the candidate: the most frequent reasons."
    )
    baseline_unscored: tuple[Unscored, ...] = Field((), max_length=MAX_REASONS, description="The same of the base.")
    incumbent_unscored: tuple[Unscored, ...] = Field(
        (), max_length=MAX_REASONS, description="The same of what was served."
    )
    leaked_rows: int | None = Field(
        None, description="Rows that are in the training data or in the prompt. None: it is not known."
    )
    leaked: tuple[Leaked, ...] = Field((), max_length=MAX_LEAKED)
    exposure: Exposure
    metrics: tuple[Measured, ...] = Field(max_length=MAX_METRICS)
    paired: Paired | None = Field(None, description="None: there is no baseline.")
    paired_incumbent: PairedIncumbent | None = Field(None, description="None: there is no incumbent.")
    classes: tuple[ClassResult, ...] = Field(
        (),
        max_length=MAX_LABELS,
        description="In the labels' order; where there are more, those with the most mistakes.",
    )
    labels: int = Field(0, description="All labels that were expected or answered.")
    confusion: Confusion | None = None
    reliability: Reliability | None = None
    baseline_reliability: Reliability | None = None
    incumbent_reliability: Reliability | None = Field(
        None, description="None, too, of an incumbent that chooses among other labels."
    )
    worst: Worst | None = Field(None, description="None of a canary suite, whose rows are all shown.")
    canaries: tuple[Told, ...] = Field((), max_length=MAX_CANARIES)


class KnownAs(ContractModel):
    """A data set by its name in the project and its content."""

    name: str
    digest: Digest


class EvaluationDocument(ContractModel):
    """The whole report."""

    schema_version: Literal[1] = 1
    key: Digest
    inputs: EvaluationInputs
    release: Release
    asked: Asked = Field(description="How the candidate was asked.")
    base: BaseRecord
    method: str | None = Field(
        None, description="The method whose result the artifact is, such as LoRA. None: it is the base itself."
    )
    run: str | None = Field(None, description="None: it is the base itself. Likewise run_inputs.")
    run_inputs: Digest | None = None
    incumbent_run: str | None = Field(
        None, description="The run that made what was served, if it is compared with and is not a base itself."
    )
    trained_on: tuple[KnownAs, ...] | None = Field(
        None, description="None: nobody knows what it was trained on. Empty: it is the base itself."
    )
    project: str
    owner: Owner
    subject: Subject
    gate: str
    verdict: Verdict
    message: str
    results: tuple[CriterionResult, ...]
    suites: tuple[SuiteReport, ...]
    exposures: int
    image: str
    started: str = Field(description="RFC 3339 time, UTC.")
    finished: str
    seconds: float
