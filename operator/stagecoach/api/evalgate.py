"""EvalGate: stage 5 of the workflow, what a model has to pass before it is used."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from stagecoach.api.common import (
    MAX_NAME,
    BaseModel,
    Cpu,
    CustomObject,
    Duration,
    Enum,
    Matches,
    Memory,
    Name,
    Optional,
    Text,
    cel,
    keyed,
    rules,
)
from stagecoach.api.finetunerun import CLEAN_UP_RULES, MAX_RETRIES
from stagecoach.api.gate_status import EvalGateStatus
from stagecoach.api.pods import RESOURCE_RULES, ResourceName
from stagecoach.api.problem import Label
from stagecoach.api.review import REVIEW_RULES, Review
from stagecoach.contract.verdicts import MAX_CRITERIA, MAX_SUITES

# The name of an Evaluation is that of its gate, a hyphen and 12 hex digits.
MAX_GATE_NAME = MAX_NAME - 13

Metric = Annotated[
    str,
    StringConstraints(max_length=64),
    Matches(
        "^[a-z][a-zA-Z0-9_]*(,[a-zA-Z0-9_-]+)?$",
        "must be the name of a metric, such as accuracy, f1_macro or recall_at_10; of a task of lm-evaluation-harness"
        " that reads answers in several ways, with one of these: exact_match,strict-match",
    ),
]
# As all tasks of lm-evaluation-harness are called.
TaskName = Annotated[
    str,
    StringConstraints(max_length=128),
    Matches(
        "^[a-zA-Z0-9][a-zA-Z0-9_.+-]*$",
        "must be the name of a task of lm-evaluation-harness, such as arc_easy, hellaswag or mmlu_anatomy",
    ),
]


class SuiteType(Enum):
    """What a suite is for."""

    HELD_OUT = "HeldOut"
    ADVERSARIAL = "Adversarial"
    CANARY = "Canary"


SUITE_RULES = rules(
    cel(
        "!has(self.task) || self.type == 'HeldOut'",
        "a task of lm-evaluation-harness is a suite of type HeldOut: set this type, or leave out task",
    )
)


class Suite(BaseModel, json_schema_extra=SUITE_RULES):
    """Rows to judge by."""

    name: Name = Field(description="Name by which criteria refer to it.")
    dataset: Name = Field(description="Name of one of the project's data sets.")
    type: SuiteType = Field(
        description="HeldOut: rows like those of production, a data set of split Test. Adversarial: rows that are meant"
        " to be hard, of split Adversarial. Canary: 10 to 20 rows that people know by heart, of split Canary."
    )
    task: Optional[TaskName] = Field(
        None,
        description="A task of lm-evaluation-harness, such as arc_easy: it asks by its own prompts, not by the"
        " project's, and has metrics of its own. The data set is its documents, of split Benchmark. Default: none, the"
        " rows are of the project's task.",
    )


class Difference(BaseModel):
    """A difference of two values of a metric."""

    absolute: float = Field(ge=0, le=1000, description="In the metric's own unit, such as 0.03.")


class Against(Enum):
    """What a release is compared with, row by row."""

    BASELINE = "Baseline"
    INCUMBENT = "Incumbent"


class WhenAbsent(Enum):
    """What comes of a comparison with the incumbent where there is none."""

    SKIP = "Skip"
    FAIL = "Fail"


CRITERION_RULES = rules(
    cel(
        "[has(self.min), has(self.allowedDrop), has(self.minGain)].filter(given, given).size() == 1",
        "give exactly one of min, allowedDrop and minGain: min bounds the metric itself, the others its difference to"
        " what against names",
    ),
    cel(
        "has(self.against) == (has(self.allowedDrop) || has(self.minGain))",
        "against goes with allowedDrop or minGain, and they go with it: name what to compare with (Baseline or"
        " Incumbent), or give min alone",
    ),
    cel(
        "has(self.whenAbsent) == (has(self.against) && self.against == 'Incumbent')",
        "whenAbsent goes with against: Incumbent, and that with whenAbsent: say what comes of it while nothing is"
        " served (Skip or Fail), or leave out whenAbsent",
    ),
)


class Criterion(BaseModel, json_schema_extra=CRITERION_RULES):
    """What has to hold."""

    name: Name = Field(description="Name by which results refer to it.")
    suite: Name = Field(description="Name of one of suites.")
    metric: Metric = Field(
        description="What is measured, such as f1_macro: one that the project's task has, see docs/api/evalgate.md."
    )
    label: Optional[Label] = Field(
        None, description="One label, of a metric that there is for each. Default: over all labels."
    )
    min: Optional[float] = Field(
        None, ge=-1000, le=1000, description="The metric has to be at least this: of all metrics, more is better."
    )
    against: Optional[Against] = Field(
        None,
        description="Compare row by row. Baseline: with the base model as it is, with the project's prompt in force."
        " Incumbent: with what the ModelDeployment serves that names the gate; for each of several an Evaluation.",
    )
    allowed_drop: Optional[Difference] = Field(
        None, description="How much worse it may be than what it is compared with."
    )
    min_gain: Optional[Difference] = Field(
        None, description="How much better it has to be than what it is compared with."
    )
    when_absent: Optional[WhenAbsent] = Field(
        None,
        description="What comes of it while there is no incumbent, since nothing is served yet. Skip: it decides"
        " nothing. Fail: nothing passes.",
    )
    confidence: Optional[float] = Field(
        None,
        ge=0.5,
        le=0.9999,
        description="Of the interval that decides: it has to lie on the right side of the bound as a whole, so that"
        " luck with the rows passes nothing. Default: min is held against the value itself, a difference at 0.95.",
    )
    advisory: Optional[bool] = Field(None, description="true: it is told, and decides nothing. Default: false.")
    outcome: Optional[Text] = Field(
        None,
        description="What it is for, such as fewer misrouted tickets: for people who read the object. Nothing computes"
        " with it.",
    )


class GateResources(BaseModel):
    """What an evaluating pod asks for."""

    cpu: Cpu = Field(
        "2", description='CPUs a pod asks for, less than 1000, in quotes: "1"; also its threads. Default: 2.'
    )
    memory: Memory = Field(
        "8Gi",
        description="Memory a pod asks for, and its limit; at least 1M and at most 99Ti. It holds the whole model; with"
        " the engine vLLM a quarter, at most 8Gi, is for the evaluator beside it. Default: 8Gi.",
    )
    gpus: int = Field(0, ge=0, le=1, description="GPUs of a pod; 0 evaluates on the CPU. Default: 0.")
    gpu_resource: ResourceName = Field(
        "nvidia.com/gpu",
        description="Name of the GPU resource. Default: nvidia.com/gpu.",
        json_schema_extra=RESOURCE_RULES,
    )


class EvalGateSpec(BaseModel):
    """What has to hold of a model, and on which rows."""

    project: Name = Field(
        description="The TransformerProject, in the same namespace, whose candidates are judged: its FineTuneRuns of"
        " purpose Candidate that have succeeded."
    )
    suites: list[Suite] = Field(
        min_length=1, max_length=MAX_SUITES, description="Rows to judge by.", json_schema_extra=keyed("name")
    )
    criteria: list[Criterion] = Field(
        min_length=1,
        max_length=MAX_CRITERIA,
        description="What has to hold: all of them, apart from advisory ones.",
        json_schema_extra=keyed("name"),
    )
    min_scored: float = Field(
        0.99,
        ge=0,
        le=1,
        description="Share of each suite's rows that must have an answer that can be judged. Default: 0.99.",
        json_schema_extra=rules(cel("self > 0.0", "minScored must be more than 0: nothing is judged by no rows")),
    )
    review: Optional[Review] = Field(
        None,
        description="People who have to look at the canary's rows before a release passes. Default: nobody has to.",
        json_schema_extra=REVIEW_RULES,
    )
    newest: int = Field(
        10,
        ge=1,
        le=50,
        description="How many of the newest candidates that have succeeded are judged, besides those that a"
        " ModelDeployment asks about. Verdicts of others stay. Default: 10.",
    )
    max_concurrent: int = Field(
        1,
        ge=1,
        le=8,
        description="How many Evaluations of this gate may be undecided at a time; those that await review do not"
        " count. Default: 1.",
    )
    max_duration: Duration = Field(
        "2h",
        description="Longest time that the pods of an Evaluation may run, over all attempts: 90s, 30m, 2h. Waiting does"
        " not count. Default: 2h.",
    )
    retries: int = Field(
        2,
        ge=0,
        le=MAX_RETRIES,
        description="How often an attempt that failed for what may pass is repeated. An interruption (preemption, a"
        " drain, a deleted pod) does not count; answers that were stored are used again. Default: 2.",
    )
    resources: GateResources = Field(
        default_factory=GateResources,
        description="What evaluating pods ask for. It decides no verdict.",
        json_schema_extra={"default": {}},
    )
    clean_up_after: Duration = Field(
        "7d",
        description="How long Jobs and pods (with their logs) stay after their end; at least 10m. Evaluations and"
        " reports stay. Default: 7d.",
        json_schema_extra=CLEAN_UP_RULES,
    )


SPEC_RULES = rules(
    cel(
        "self.criteria.all(c, self.suites.exists(s, s.name == c.suite))",
        "criteria[].suite must be the name of one of suites",
    ),
    cel(
        "self.suites.all(s, self.suites.exists_one(other, other.dataset == s.dataset))",
        "a data set is one suite: name each data set once in suites",
    ),
    cel(
        "self.suites.filter(s, s.type == 'Canary').size() <= 1",
        "a gate has one canary, whose rows people read one by one: leave one suite of type Canary",
    ),
    cel(
        "self.criteria.exists(c, !has(c.advisory) || !c.advisory)",
        "a gate whose criteria are all advisory would admit everything: leave out advisory of one of them",
    ),
    cel(
        "self.criteria.exists(c, (!has(c.advisory) || !c.advisory) && (!has(c.whenAbsent) || c.whenAbsent != 'Skip'))"
        " || self.criteria.all(c, has(c.advisory) && c.advisory)",
        "while nothing is served, a gate whose criteria are all skipped would admit everything: give one that holds"
        " without an incumbent, such as a min",
    ),
    cel(
        "self.criteria.all(c, !(has(c.against) || has(c.confidence)) ||"
        " !self.suites.exists(s, s.name == c.suite && s.type == 'Canary'))",
        "a canary has too few rows for an interval: give min, without confidence and against, or name another suite",
    ),
    cel(
        "!has(self.review) || self.suites.exists(s, s.name == self.review.suite && s.type == 'Canary')",
        "review.suite must be the name of the suite of type Canary, whose rows people read one by one",
    ),
)

COLUMNS: list[dict[str, Any]] = [
    {"name": "Project", "type": "string", "jsonPath": ".spec.project"},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Passed", "type": "integer", "jsonPath": ".status.verdicts.passed"},
    {"name": "Failed", "type": "integer", "jsonPath": ".status.verdicts.failed"},
    {"name": "Latest", "type": "string", "jsonPath": ".status.latest.verdict"},
    {"name": "Run", "type": "string", "jsonPath": ".status.latest.run"},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": '.status.conditions[?(@.type=="Ready")].message'},
]


class EvalGate(CustomObject):
    """A gate: what a project's candidates have to pass, and what came of them."""

    spec: EvalGateSpec = Field(
        description="What has to hold of a model, and on which rows.", json_schema_extra=SPEC_RULES
    )
    status: EvalGateStatus = Field(default_factory=EvalGateStatus, description="What came of the candidates.")
