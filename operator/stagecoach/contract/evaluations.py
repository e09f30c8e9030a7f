"""What an evaluation is of, and what its Job is told. A verdict is a function of these inputs, and of nothing else."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from stagecoach.contract.digests import Digest, FileEntry, digest_of_document
from stagecoach.contract.inputs import AnyColumns, DataInput
from stagecoach.contract.jobs import DataSource, ModelSource, Owner, Subject
from stagecoach.contract.model import ContractModel, canonical_json
from stagecoach.contract.releases import Asked, EngineType, Release
from stagecoach.contract.reviews import Review
from stagecoach.contract.verdicts import CriterionResult, Outcome, Verdict

# Raised only when the evaluator, given the same inputs, could come to another verdict.
EVALUATOR_REVISION = 2


class SuiteType(StrEnum):
    """What a suite is for."""

    HELD_OUT = "HeldOut"  # rows like those of production, that no run has seen
    ADVERSARIAL = "Adversarial"  # rows that are meant to be hard
    CANARY = "Canary"  # a few rows that people know by heart


class Suite(ContractModel):
    """Rows to judge by, by their content."""

    name: str
    type: SuiteType
    data: Digest
    columns: AnyColumns

    @property
    def rows(self) -> str:
        """The identity of what is asked: the content, and which columns of it are read."""
        return digest_of_document({"data": self.data, "columns": self.columns.document()})


class Reference(StrEnum):
    """What a release is compared with, row by row."""

    BASELINE = "Baseline"  # the base model with the project's prompt
    INCUMBENT = "Incumbent"  # what the deployment that asks serves


class WhenAbsent(StrEnum):
    """What comes of a comparison with the incumbent where there is none."""

    SKIP = "Skip"
    FAIL = "Fail"


class Criterion(ContractModel):
    """What has to hold: a bound of the metric, or of its difference to what it is compared with."""

    name: str
    suite: str
    metric: str
    label: str | None = Field(None, description="Of a metric that there is for each label.")
    min: float | None = None
    against: Reference | None = None
    when_absent: WhenAbsent | None = Field(None, description="Of a comparison with the incumbent, and of no other.")
    allowed_drop: float | None = Field(None, description="By how much it may be worse than the reference.")
    min_gain: float | None = Field(None, description="By how much it has to be better than the reference.")
    confidence: float | None = Field(
        None,
        description="Of the interval that decides. None: a bound is held against the value, a difference at 0.95.",
    )
    advisory: bool = False

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        bounds = (self.min, self.allowed_drop, self.min_gain)
        if bounds.count(None) != 2:
            raise ValueError("a criterion has one of min, allowedDrop and minGain")
        if (self.against is not None) != (self.min is None):
            raise ValueError("against goes with allowedDrop or minGain")
        if (self.against is Reference.INCUMBENT) != (self.when_absent is not None):
            raise ValueError("against: Incumbent goes with whenAbsent")
        return self

    def absent(self, incumbent: str | None) -> Outcome | None:
        """Return what comes of a comparison with what is served, while nothing is; None: it is measured."""
        if self.against is not Reference.INCUMBENT or incumbent is not None:
            return None
        return Outcome.SKIPPED if self.when_absent is WhenAbsent.SKIP else Outcome.FAILED


def in_order(data: Iterable[DataInput]) -> tuple[DataInput, ...]:
    """Return each of these data once, in the order that keys are taken over: names and places decide nothing."""
    return tuple(sorted(set(data), key=lambda item: canonical_json(item.document())))


class EvaluationInputs(ContractModel):
    """Everything that decides a verdict. Equal digests mean the same verdict: it is computed once."""

    revision: int = EVALUATOR_REVISION
    release: Digest
    baseline: Digest | None = Field(None, description="Release of the base; None where no criterion compares with it.")
    incumbent: Digest | None = Field(
        None, description="Release that is served; None where no criterion compares with it, or nothing is served."
    )
    suites: tuple[Suite, ...]
    criteria: tuple[Criterion, ...]
    min_scored: float = Field(description="Share of each suite's rows that must have an answer, 0 to 1.")
    trained_on: tuple[DataInput, ...] | None = Field(
        None,
        description="Data in which no row of a suite may be, and which columns of it are read, in_order. None: nobody"
        " knows what it was trained on. Empty: none of the project's, for it is a base itself.",
    )
    review: Review | None = Field(
        None, description="Who has to look at it before it passes. The evaluator's verdict is what comes before that."
    )

    @model_validator(mode="after")
    def _compared(self) -> Self:
        if self.incumbent is not None and not any(each.against is Reference.INCUMBENT for each in self.criteria):
            raise ValueError("there is an incumbent, and no criterion compares with it")
        if self.incumbent == self.release:
            raise ValueError("a release is not compared with itself")
        return self

    @model_validator(mode="after")
    def _of_a_suite(self) -> Self:
        if self.review is not None and self.review.suite not in {suite.name for suite in self.suites}:
            raise ValueError("the rows to review are of no suite")
        return self

    @model_validator(mode="after")
    def _one_key_for_the_same_data(self) -> Self:
        if self.trained_on is not None and self.trained_on != in_order(self.trained_on):
            raise ValueError("trainedOn is not in order")
        return self

    @property
    def digest(self) -> str:
        """The key of the evaluation."""
        return digest_of_document(self.document())


class Incumbent(ContractModel):
    """A release that is served, and where it is found when its answers are not stored."""

    release: Release
    run: str | None = Field(None, description="The FineTuneRun that made it. None: it is a base itself.")
    run_inputs: Digest | None = Field(
        None,
        description="Inputs of that run: its record in the storage says how it is asked. Of a base itself the release"
        " does, as the storage keeps it.",
    )
    base: ModelSource | None = Field(
        None, description="None: it cannot be asked, for its base has left the project, or another engine is its own."
    )

    @model_validator(mode="after")
    def _made_by_a_run(self) -> Self:
        _check_made(self.release, self.run, self.run_inputs)
        return self


class Untuned(ContractModel):
    """A base that is judged itself, with the project's prompt: what of another release its run's record says."""

    asked: Asked = Field(description="How it is asked. Labels are listed: there is no run whose data they are from.")
    architecture: str
    context: int = Field(description="Longest native context in tokens.")


def _check_made(release: Release, run: str | None, run_inputs: Digest | None) -> None:
    """Raise ValueError for an artifact that is of no run, and for a base that is of one."""
    if len({release.artifact is None, run is None, run_inputs is None}) > 1:
        raise ValueError("an artifact is of a run, and of inputs: all of these are there, or none")


class EvaluateJob(ContractModel):
    """Ask the release, and what it is compared with, every row; judge the answers; store report and record."""

    kind: Literal["Evaluate"] = "Evaluate"
    subject: Subject = Field(description="The Evaluation.")
    project: str
    owner: Owner
    gate: str
    run: str | None = Field(None, description="The FineTuneRun whose artifact is judged. None: a base itself is.")
    inputs: EvaluationInputs
    release: Release
    run_inputs: Digest | None = Field(
        None, description="Inputs of the run: its record in the storage says how the model is asked."
    )
    untuned: Untuned | None = Field(None, description="Of a base itself, of which there is no record.")
    baseline: Asked | None = Field(None, description="How the base is asked, where something compares with it.")
    incumbent: Incumbent | None = Field(None, description="What is served, where something compares with it.")
    base: ModelSource
    datasets: tuple[DataSource, ...] = Field(description="Those of the suites, in their order.")
    trained_on: tuple[DataSource, ...] = Field(description="Those in which no row of a suite may be.")
    image: str
    engine_image: str | None = Field(None, description="Of an engine in a container of its own.")
    threads: int = Field(1, ge=1, description="CPU threads: whole CPUs that the gate asked for.")

    @model_validator(mode="after")
    def _as_the_inputs_say(self) -> Self:
        inputs = self.inputs
        if self.release.digest != inputs.release:
            raise ValueError("the release is not that of the inputs")
        self._check_made()
        if (self.engine_image is not None) != (self.release.engine.type is EngineType.VLLM):
            raise ValueError("the engine vLLM, and no other, has an image of its own")
        if (self.reference.digest if self.reference else None) != inputs.baseline:
            raise ValueError("the baseline is not that of the inputs")
        if (self.incumbent.release.digest if self.incumbent else None) != inputs.incumbent:
            raise ValueError("the incumbent is not that of the inputs")
        if (
            self.incumbent
            and self.incumbent.base
            and self.incumbent.release.engine.type is not self.release.engine.type
        ):
            raise ValueError("the incumbent would be asked by another engine than its own")
        if [(item.digest, item.columns) for item in self.datasets] != [
            (each.data, each.columns) for each in inputs.suites
        ]:
            raise ValueError("the data sets are not those of the suites, in their order")
        known = [(item.digest, item.columns) for item in inputs.trained_on or ()]
        # Two names of the same content are one thing to know.
        given = [(item.digest, item.columns) for item in self.trained_on]
        if any(item not in given for item in known) or any(item not in known for item in given):
            raise ValueError("the data sets that were trained on are not those of the inputs")
        return self

    def _check_made(self) -> None:
        """See that it is of a run, or a base itself that is asked as is said, and that nobody needs to have trained."""
        release, untuned, trained_on = self.release, self.untuned, self.inputs.trained_on
        _check_made(release, self.run, self.run_inputs)
        if (untuned is not None) != (release.artifact is None):
            raise ValueError("a base itself, and nothing else, is told of in untuned")
        if untuned is not None and untuned.asked.digest != release.asked:
            raise ValueError("the base is not asked as the release is")
        labels = untuned.asked.labels if untuned is not None else None
        if labels is not None and labels.values is None:
            raise ValueError("the labels of a base itself are not listed")
        if untuned is not None and self.baseline is not None:
            raise ValueError("a base is not compared with itself")
        if (trained_on == ()) != (release.artifact is None):
            raise ValueError("trainedOn is empty of a base itself; of anything else that is to know nothing")

    @property
    def name(self) -> str:
        """Whose release it is, in words."""
        return f"the run {self.run}" if self.run else f"the base {self.base.name}"

    @property
    def reference(self) -> Release | None:
        """The base as it is, if the candidate is compared with it."""
        if self.baseline is None:
            return None
        return Release(asked=self.baseline.digest, artifact=None, engine=self.release.engine)


class Scored(ContractModel):
    """What became of a suite's rows."""

    suite: str
    rows: int = Field(description="Without those that repeat another one.")
    repeated: int = Field(0, description="Rows that repeat another one, and are not counted.")
    scored: int = Field(description="Rows with an answer that could be judged.")
    leaked: tuple[str, ...] | None = Field(
        None, max_length=100, description="Rows that are in the training data too, or in the prompt. None: not known."
    )
    leaked_rows: int | None = None
    answers: Digest | None = Field(None, description="Digest of the file with the release's answers.")
    baseline_answers: Digest | None = Field(None, description="The same of the base, where something compares with it.")
    incumbent_answers: Digest | None = Field(None, description="The same of what was served.")


class EvaluationRecord(ContractModel):
    """What was decided, kept in the project's storage: it outlives the cluster, and never changes."""

    schema_version: Literal[1] = 1
    key: Digest
    inputs: EvaluationInputs
    release: Release
    run_inputs: Digest | None = Field(None, description="None: a base itself was judged. Likewise run.")
    project: str
    owner: Owner
    subject: Subject
    gate: str
    run: str | None = None
    verdict: Verdict
    message: str
    results: tuple[CriterionResult, ...]
    suites: tuple[Scored, ...]
    exposures: int
    report: tuple[FileEntry, ...] = Field(description="The files beside the record: report.json and report.html.")
    image: str
    engine_image: str | None = Field(None, description="Of an engine in a container of its own.")
    started: str = Field(description="RFC 3339 time, UTC.")
    finished: str
    seconds: float
