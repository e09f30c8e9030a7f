"""Evaluation: one verdict of one gate about one release. The operator alone writes it."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from stagecoach.api.candidates import InferenceEngine, InferencePrecision, PromptRef
from stagecoach.api.common import (
    BaseModel,
    CustomObject,
    Digest,
    Duration,
    Matches,
    Name,
    Optional,
    StorageUri,
    cel,
    keyed,
    rules,
    whose,
)
from stagecoach.api.evalgate import Criterion, GateResources, SuiteType, TaskName
from stagecoach.api.evaluation_status import EvaluationStatus
from stagecoach.api.review import REVIEW_RULES, Review
from stagecoach.contract.verdicts import MAX_CRITERIA, MAX_SUITES

MAX_TRAINED_ON = 12
Image = Annotated[
    str, StringConstraints(max_length=512), Matches(r"^[^\s]+$", "must be the name of an image, without white space")
]


MADE_RULES = rules(
    cel(
        "[has(self.run), has(self.runInputs), has(self.release.artifact)].filter(given, given).size() in [0, 3]",
        "an artifact is of a run, and of its inputs: give run, runInputs and release.artifact, or none of them",
    ),
    cel(
        "has(self.release.artifact) != has(self.release.prompt)",
        "release.prompt says by which prompt a base itself is asked: give it where there is no release.artifact",
    ),
)


class JudgedRelease(BaseModel):
    """What is judged."""

    digest: Digest = Field(description="Identity of the release: by it verdicts are found.")
    short: str = Field(max_length=12, description="The first 12 hex digits of the digest, for tables.")
    asked: Digest = Field(description="Identity of how the model is asked, as the run's status.inputs.asked says.")
    artifact: Optional[Digest] = Field(
        None, description="Identity of the adapter or model. Absent: it is the base itself, with the project's prompt."
    )
    prompt: Optional[PromptRef] = Field(
        None, description="Of a base itself: the project's prompt that was in force. Of others their run says it."
    )
    engine: Optional[InferenceEngine] = Field(None, description="What computes the answers. Absent: Transformers.")
    precision: InferencePrecision = Field(description="Number format in which it answers.")


class JudgedBase(BaseModel):
    """The base model of the artifact, or what is judged itself."""

    candidate: Name = Field(description="Its name in the project.")
    model: Digest = Field(description="Identity of the base model.")
    tokenizer: Digest = Field(description="Identity of its tokenizer and chat template.")
    revision: Optional[str] = Field(None, max_length=64, description="Commit of a base model of a hub.")


class JudgedBaseline(BaseModel):
    """The base model as it is, to compare with."""

    digest: Digest = Field(description="Identity of its release.")
    asked: Digest = Field(description="Identity of how it is asked.")
    prompt: PromptRef = Field(description="The project's prompt that was in force.")
    labels: Optional[Digest] = Field(None, description="Data set that the labels are taken from, unless listed.")


class JudgedIncumbent(BaseModel):
    """What was served when this was decided, to compare with."""

    release: JudgedRelease = Field(description="The release that was served.")
    base: JudgedBase = Field(description="The base model of its artifact, or what was served itself.")
    run: Optional[Name] = Field(
        None, description="The FineTuneRun that made it. It may be gone. Absent: it was a base itself."
    )
    run_inputs: Optional[Digest] = Field(
        None, description="Identity of that run's inputs, by which, with the artifact, its record is found."
    )
    storage: StorageUri = Field(description="The storage that holds its record and its artifact.")

    @property
    def named(self) -> str:
        """Whose release it is, in words."""
        return whose(self.run, self.base.candidate)


class JudgedSuite(BaseModel):
    """Rows to judge by, by their content."""

    name: Name = Field(description="Name in the gate.")
    type: SuiteType = Field(description="What it is for.")
    dataset: Name = Field(description="Name of the data set in the project.")
    digest: Digest = Field(description="Identity of its content.")
    revision: Optional[str] = Field(None, max_length=64, description="Commit of a data set of a hub.")
    task: Optional[TaskName] = Field(None, description="Task of lm-evaluation-harness whose documents these are.")


class TrainingData(BaseModel):
    """A data set that the artifact was trained on."""

    name: Name = Field(description="Name in the project.")
    digest: Digest = Field(description="Identity of its content.")
    revision: Optional[str] = Field(None, max_length=64, description="Commit of a data set of a hub.")


class EvaluationSpec(BaseModel):
    """What is judged, by which rows and criteria: as it was when the gate decided it."""

    gate: Name = Field(description="The EvalGate. It may be gone, or say something else by now.")
    project: Name = Field(description="The TransformerProject.")
    run: Optional[Name] = Field(
        None,
        description="The FineTuneRun whose artifact is judged. It may be gone. Absent: base.candidate itself is judged,"
        " with the project's prompt.",
    )
    run_inputs: Optional[Digest] = Field(
        None, description="Identity of the run's inputs, by which, with the artifact, its record is found."
    )
    key: Digest = Field(description="Identity of all that decides the verdict. Equal keys have the same verdict.")
    revision: int = Field(
        ge=1, description="Revision of the evaluator: raised when equal keys could come out otherwise."
    )
    release: JudgedRelease = Field(description="What is judged.")
    base: JudgedBase = Field(description="The base model of the artifact, or what is judged itself.")
    baseline: Optional[JudgedBaseline] = Field(
        None, description="The base model as it is, where a criterion compares with it."
    )
    incumbent: Optional[JudgedIncumbent] = Field(
        None,
        description="What was served, where a criterion compares with it. Absent: nothing was, or no criterion does.",
        json_schema_extra=MADE_RULES,
    )
    suites: list[JudgedSuite] = Field(
        min_length=1, max_length=MAX_SUITES, description="Rows to judge by.", json_schema_extra=keyed("name")
    )
    criteria: list[Criterion] = Field(
        min_length=1, max_length=MAX_CRITERIA, description="What has to hold.", json_schema_extra=keyed("name")
    )
    min_scored: float = Field(ge=0, le=1, description="Share of each suite's rows that must have an answer.")
    review: Optional[Review] = Field(
        None,
        description="People who have to look at the canary's rows before it passes.",
        json_schema_extra=REVIEW_RULES,
    )
    trained_on: Optional[list[TrainingData]] = Field(
        None,
        max_length=MAX_TRAINED_ON,
        description="Data in which no row of a suite may be. Absent: nobody knows what it was trained on; of a base"
        " itself none of the project's data was.",
        json_schema_extra=keyed("name"),
    )
    storage: StorageUri = Field(description="The storage that holds the artifact, and gets the report.")
    image: Image = Field(description="The evaluator image of all attempts.")
    engine_image: Optional[Image] = Field(
        None, description="The image of the engine of all attempts, where it is vLLM."
    )
    resources: GateResources = Field(description="What evaluating pods ask for.")
    max_duration: Duration = Field(description="Longest time that the pods may run, over all attempts.")
    retries: int = Field(ge=0, le=5, description="How often an attempt that failed for what may pass is repeated.")
    clean_up_after: Duration = Field(description="How long Jobs and pods stay after their end.")

    @property
    def named(self) -> str:
        """Whose release is judged, in words."""
        return whose(self.run, self.base.candidate)


SPEC_RULES = rules(
    cel("self == oldSelf", "an Evaluation's spec cannot change: it says what was judged"),
    *MADE_RULES["x-kubernetes-validations"],
    cel(
        "has(self.release.artifact) || (!has(self.baseline) && !has(self.trainedOn))",
        "a base itself is not compared with itself, and no data of the project trained it: leave out baseline and"
        " trainedOn",
    ),
)
_DECIDED = ("verdict", "results", "report", "message", "completionTime", "review")
# At the root: below, a status that is taken away as a whole would be no change to a rule.
FINAL_RULE = cel(
    "!has(oldSelf.status) || !has(oldSelf.status.verdict) || (has(self.status) && "
    + " && ".join(
        f"has(self.status.{field}) == has(oldSelf.status.{field}) &&"
        f" (!has(self.status.{field}) || self.status.{field} == oldSelf.status.{field})"
        for field in _DECIDED
    )
    + ")",
    "a verdict is final: to have the same judged again, delete the Evaluation, and its gate makes another",
)

# What people have looked at is what they decide on.
ASKED_RULE = cel(
    "!has(oldSelf.status) || !has(oldSelf.status.review) || (has(self.status) && has(self.status.review) &&"
    " self.status.review.asked == oldSelf.status.review.asked &&"
    " self.status.review.rows == oldSelf.status.review.rows &&"
    " has(self.status.report) && self.status.report == oldSelf.status.report)",
    "what reviewers are asked about does not change: to have it measured again, delete the Evaluation, and its gate"
    " makes another",
)
REVIEWED_RULE = cel(
    "!has(self.spec.review) || !has(self.status) || !has(self.status.verdict) || self.status.verdict != 'Passed' ||"
    " (has(self.status.review) && has(self.status.review.approvals) && !has(self.status.review.rejected) &&"
    " self.status.review.approvals.size() >= self.spec.review.approvals &&"
    " self.status.review.approvals.all(a, self.status.review.approvals.exists_one(b, b.reviewer == a.reviewer)))",
    "nothing passes without the approvals that its review asks for, of different people",
)
RULES = (FINAL_RULE, ASKED_RULE, REVIEWED_RULE)

COLUMNS: list[dict[str, Any]] = [
    {"name": "Run", "type": "string", "jsonPath": ".spec.run"},
    {"name": "Base", "type": "string", "priority": 1, "jsonPath": ".spec.base.candidate"},
    {"name": "Release", "type": "string", "jsonPath": ".spec.release.short"},
    {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": '.status.conditions[?(@.type=="Ready")].message'},
]


class Evaluation(CustomObject):
    """A verdict of a gate about a release, written by the operator alone."""

    spec: EvaluationSpec = Field(
        description="What is judged, by which rows and criteria: as it was when the gate decided it.",
        json_schema_extra=SPEC_RULES,
    )
    status: EvaluationStatus = Field(default_factory=EvaluationStatus, description="What came of it.")
