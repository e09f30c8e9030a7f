"""ModelDeployment: a server that admits only what has passed its gates, and keeps what it serves until then."""

from typing import Annotated, Any

from annotated_types import Len
from pydantic import Field, StringConstraints, WithJsonSchema

from stagecoach.api.common import (
    DURATION,
    ODD,
    BaseModel,
    Cpu,
    CustomObject,
    Digest,
    Duration,
    Enum,
    LocalSecret,
    Matches,
    Memory,
    Name,
    Optional,
    cel,
    keyed,
    lasting,
    rules,
)
from stagecoach.api.deployment_status import ModelDeploymentStatus
from stagecoach.api.pods import KEY_RULE, RESOURCE_RULES, LabelMap, ResourceName
from stagecoach.api.review import MAX_REVIEWERS, REVIEWER_RULES, Reviewer
from stagecoach.api.sampling import Sampling
from stagecoach.api.sla import Sla
from stagecoach.contract.serving import RANKS

MAX_GATES = 4
MAX_STEPS = 8
MAX_ROLLBACK = 10


class Selector(BaseModel):
    """Which runs."""

    match_labels: LabelMap = Field(
        {}, description="Labels that a run must have. Default: none, all runs.", json_schema_extra=rules(KEY_RULE)
    )


class Latest(BaseModel):
    """The newest run that passes."""

    selector: Selector = Field(
        default_factory=Selector, description="Which runs. Default: all.", json_schema_extra={"default": {}}
    )


class Follow(BaseModel):
    """What another deployment serves."""

    deployment: Name = Field(description="The other ModelDeployment, in the same namespace and of the same project.")
    soak: Duration = Field(
        description="Once it has served that for so long, such as 24h, from when all requests went there."
    )


MODEL_RULES = rules(
    cel(
        "[has(self.latest), has(self.run), has(self.release), has(self.candidate), has(self.follow)]"
        ".filter(given, given).size() == 1",
        "give exactly one of latest, run, release, candidate and follow: latest: {} is the newest run that passes",
    )
)


class Model(BaseModel, json_schema_extra=MODEL_RULES):
    """What is to be served."""

    latest: Optional[Latest] = Field(
        None,
        description="The newest run of purpose Candidate that every gate has passed. Newest is said by when runs were"
        " created: what is judged later and is older replaces nothing.",
    )
    run: Optional[Name] = Field(None, description="This FineTuneRun, also if it is older than what is served.")
    release: Optional[Digest] = Field(
        None, description="This release, as an Evaluation names it in spec.release.digest: to go back, or to stay."
    )
    candidate: Optional[Name] = Field(
        None,
        description="A base model itself, by its name in the project's spec.candidates, with the project's prompt and"
        " without any training. It has to pass the gates like a run.",
    )
    follow: Optional[Follow] = Field(
        None,
        description="What another deployment serves, such as that of a stage before this one, also if it is older than"
        " what is served here. It has to pass the gates here all the same.",
    )


class DeploymentGate(BaseModel):
    """A gate that has to be passed."""

    name: Name = Field(description="Name of the EvalGate, in the same namespace.")


class EngineResources(BaseModel):
    """What a pod of the engine asks for."""

    cpu: Cpu = Field("2", description='CPUs a pod asks for, in quotes: "4"; without GPUs also its threads. Default: 2.')
    memory: Memory = Field(
        "8Gi", description="Memory a pod asks for, and its limit. Without GPUs it holds model and cache. Default: 8Gi."
    )
    gpus: int = Field(0, ge=0, le=1, description="GPUs of a pod; 0 serves on the CPU. Default: 0.")
    gpu_resource: ResourceName = Field(
        "nvidia.com/gpu",
        description="Name of the GPU resource. Default: nvidia.com/gpu.",
        json_schema_extra=RESOURCE_RULES,
    )


class Engine(BaseModel):
    """The servers that compute answers: vLLM."""

    resources: EngineResources = Field(
        default_factory=EngineResources,
        description="What a pod of the engine asks for.",
        json_schema_extra={"default": {}},
    )
    max_lora_rank: int = Field(
        64,
        ge=RANKS[0],
        le=RANKS[-1],
        description="The largest rank of an adapter that the engine is prepared for: more takes memory."
        f" {', '.join(map(str, RANKS[:-1]))} or {RANKS[-1]}. Default: 64.",
        json_schema_extra=rules(
            cel(
                f"self in {list(RANKS)}",
                f"must be {', '.join(map(str, RANKS[:-1]))} or {RANKS[-1]}: take the next larger one",
            )
        ),
    )
    max_concurrent: int = Field(
        32, ge=1, le=1024, description="Requests that one pod computes at a time; others wait. Default: 32."
    )
    max_length: Optional[int] = Field(
        None,
        ge=16,
        le=1_048_576,
        description="Tokens of a prompt and its answer together. Default: what the project's tokenization lets through,"
        " with api Task; 4096, with api OpenAI; never more than the base has.",
    )
    start_deadline: Duration = Field(
        "30m",
        description="How long an engine may take until a release answers, at least 1m and at most 1d; then the release"
        " is rejected. Default: 30m.",
        json_schema_extra=lasting(
            "startDeadline must be at least 1m, for vLLM takes that long to start, and at most 1d", "1m", "1d"
        ),
    )


AUTOSCALING_RULES = rules(
    cel(
        "!has(self.min) || self.min <= self.max",
        "min must be no more than max: lower min, or raise max",
    ),
)


class Autoscaling(BaseModel, json_schema_extra=AUTOSCALING_RULES):
    """How many pods the engine has, by how many requests wait."""

    min: int = Field(
        1,
        ge=1,
        le=64,
        description="At least so many. With none nobody would say that requests wait, so it is 1 or more. Default: 1.",
    )
    max: int = Field(ge=1, le=64, description="At most so many.")
    waiting_requests: int = Field(
        ge=1,
        le=10_000,
        description="When more requests than this wait for each pod, at two looks one after the other, there are more"
        " pods. Requests wait beyond engine.maxConcurrent, or when the cache of a pod is full.",
    )


class Api(Enum):
    """What clients speak."""

    TASK = "Task"
    OPENAI = "OpenAI"


AnswerText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class RateLimit(BaseModel):
    """How often a client may ask."""

    requests: int = Field(ge=1, le=10_000_000, description="So often at once, and as often again in each interval.")
    interval: Duration = Field(
        description="In the course of such a time, such as 1m; at most 1d.",
        json_schema_extra=lasting(
            "interval must be at most 1d: gateways count in memory, and begin anew when they start", most="1d"
        ),
    )


STATIC_RULES = rules(
    cel(
        "self.all(key, size(key) <= 63 && key.matches('^[A-Za-z][A-Za-z0-9_]*$'))",
        "a field of an answer must be at most 63 letters, digits and '_', with a letter at the start",
    ),
    cel(
        "('label' in self) != ('text' in self)",
        "static must hold label or text, as answers of the Task API do: {label: other}, or {text: Try again later.}",
    ),
)
FALLBACK_RULES = rules(
    cel("has(self.static) != has(self.deployment)", "give exactly one of static and deployment"),
)


class Fallback(BaseModel, json_schema_extra=FALLBACK_RULES):
    """What is answered when no engine does."""

    static: Optional[Annotated[dict[str, AnswerText], Len(min_length=1, max_length=8)]] = Field(
        None,
        description="This answer, such as {label: other}: label or text, and other fields beside it if clients want"
        " any.",
        json_schema_extra=STATIC_RULES,
    )
    deployment: Optional[Name] = Field(
        None,
        description="What the gateway of another ModelDeployment of this namespace answers, of api Task and without"
        " keys.",
    )


JsonSchema = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-map-type": "atomic"}),
]


class Body(BaseModel):
    """What a request or an answer has to fulfil."""

    json_schema: JsonSchema = Field(
        alias="schema",
        description="A JSON Schema of draft 2020-12 for the whole body, besides that of the API itself; references stay"
        " within it, and it takes at most 64 KiB.",
    )


class Contract(BaseModel):
    """What clients may rely on, besides the schema of the API itself."""

    input: Optional[Body] = Field(
        None,
        description="What a request has to fulfil; another one is refused with 400. Default: what the API asks for.",
    )
    output: Optional[Body] = Field(
        None,
        description="What an answer has to fulfil; for another one clients have the fallback, or 502, and there are no"
        " streams. Default: what the API says.",
    )
    rate_limits: list[RateLimit] = Field(
        [],
        max_length=4,
        description="How often each client may ask each pod of the gateway; all of them hold. Default: no limit.",
        json_schema_extra=keyed("interval"),
    )
    timeout: Duration = Field(
        "30s",
        description="For an answer; of a stream, for each part of it; at most 1h. Default: 30s.",
        json_schema_extra=lasting("timeout must be at most 1h: give clients an error before that", most="1h"),
    )
    fallback: Optional[Fallback] = Field(
        None, description="What is answered when no engine does, with api Task. Default: an error says so."
    )


ACCESS_RULES = rules(
    cel(
        "has(self.apiKeys) || has(self.feedback)",
        "access names who may ask, apiKeys, or who may give feedback: give one of them, or leave access out",
    )
)


class Access(BaseModel, json_schema_extra=ACCESS_RULES):
    """Who may ask, and who may say what answers were worth."""

    api_keys: Optional[LocalSecret] = Field(
        None,
        description="Secret of the same namespace whose key clients.json names the clients, with the digests of their"
        " keys; see docs/api/modeldeployment.md. Default: whoever reaches the gateway may ask.",
    )
    feedback: Optional[LocalSecret] = Field(
        None,
        description="Secret likewise, of those who alone may give feedback, on any client's answers. Default: each"
        " client, on its own.",
    )


class GatewayResources(BaseModel):
    """What a pod of the gateway asks for."""

    cpu: Cpu = Field("250m", description="CPUs a pod asks for; it uses one at most. Default: 250m.")
    memory: Memory = Field("512Mi", description="Memory a pod asks for, and its limit. Default: 512Mi.")


class Gateway(BaseModel):
    """The pods that clients reach."""

    replicas: int = Field(1, ge=1, le=16, description="Pods of the gateway. Default: 1.")
    resources: GatewayResources = Field(
        default_factory=GatewayResources,
        description="What a pod of the gateway asks for.",
        json_schema_extra={"default": {}},
    )


# Until somebody who may promotes the candidate.
MANUAL = "Manual"
Hold = Annotated[
    str,
    StringConstraints(max_length=ODD),
    Matches(
        DURATION.pattern.replace("^(", f"^({MANUAL}|"),
        "must be a length of time such as 90s, 30m, 24h or 7d, and at most 999d, or Manual: until somebody promotes it",
    ),
]


class Step(BaseModel):
    """A part of the requests, for a time."""

    weight: int = Field(ge=1, le=99, description="Of 100 requests so many go to the candidate.")
    hold: Hold = Field(
        description="At least so long, such as 5m; or Manual: until one of approvers promotes the candidate."
    )
    min_requests: int = Field(
        0, ge=0, le=1_000_000, description="And until the candidate had at least so many. Default: 0."
    )


class AbortOn(BaseModel):
    """When a candidate goes."""

    error_rate: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Errors of the candidate, as a share of the requests that it had to answer, above which it is"
        " rejected and the release of before has all requests again; 0: at the first. Default: 0.05.",
        json_schema_extra=rules(
            cel(
                "self < 1.0", "errorRate must be less than 1, above which no candidate could ever be: 0.05 is one in 20"
            )
        ),
    )
    min_requests: int = Field(
        20, ge=1, le=1_000_000, description="Before the candidate had so many it is not judged by them. Default: 20."
    )


STEPS_RULES = rules(
    cel(
        "self.map(step, step.weight).isSorted() && self.all(step, self.exists_one(other, other.weight == step.weight))",
        "each step must have a larger weight than the one before: put steps in this order, and each weight once",
    )
)


class Canary(BaseModel):
    """A candidate gets requests by steps."""

    steps: list[Step] = Field(
        min_length=1,
        max_length=MAX_STEPS,
        description="One after the other, of growing weight; after the last it has all requests.",
        json_schema_extra=STEPS_RULES,
    )
    abort_on: AbortOn = Field(
        default_factory=AbortOn, description="When a candidate goes.", json_schema_extra={"default": {}}
    )


class Rollout(BaseModel):
    """How a candidate takes over, and what may come back."""

    canary: Optional[Canary] = Field(
        None, description="A candidate gets requests by steps. Default: all at once, when it answers on all pods."
    )
    rollback_window: Optional[int] = Field(
        None,
        ge=1,
        le=MAX_ROLLBACK,
        description="Of the releases that were served before, so many, the last ones, come back when model.run,"
        " model.release or model.candidate names them, without being compared with what is served: by the verdicts by"
        " which they were admitted. Default: none; what comes back is compared like any other.",
    )


APPROVERS_RULES = rules(
    cel("self.all(a, self.exists_one(other, other == a))", "name each user and each group once in approvers")
)


class ModelDeploymentSpec(BaseModel):
    """What is to be served, how, and for whom."""

    project: Name = Field(description="The TransformerProject, in the same namespace. It cannot change.")
    model: Model = Field(description="What is to be served.")
    gates: list[DeploymentGate] = Field(
        min_length=1,
        max_length=MAX_GATES,
        description="Gates of the project. A release is served once every one of them has passed it.",
        json_schema_extra=keyed("name"),
    )
    engine: Engine = Field(
        default_factory=Engine,
        description="The servers that compute answers. A change starts another engine beside the one that serves, and"
        " requests move when it answers.",
        json_schema_extra={"default": {}},
    )
    replicas: int = Field(
        1,
        ge=0,
        le=64,
        description="Pods of the engine that serves, which kubectl scale and autoscalers may set. At 0 nothing answers"
        " but a fallback, and no candidate takes over. Default: 1.",
    )
    autoscaling: Optional[Autoscaling] = Field(
        None, description="Instead of replicas: as many pods as waiting requests take. Default: replicas says it."
    )
    sla: Optional[Sla] = Field(
        None,
        description="What a candidate's engine has to reach under a load before the candidate has its first request."
        " Default: no test.",
    )
    api: Api = Field(
        Api.TASK,
        description="Task: POST /v1/predict, with prompt and tokenization of the project. OpenAI: chat and text"
        " completions, embeddings and probabilities of labels, of texts as the client writes them. Default: Task.",
    )
    contract: Contract = Field(
        default_factory=Contract, description="What clients may rely on.", json_schema_extra={"default": {}}
    )
    access: Optional[Access] = Field(
        None,
        description="Who may ask, and give feedback. Default: whoever reaches the gateway may ask, and status says so.",
    )
    gateway: Gateway = Field(
        default_factory=Gateway, description="The pods that clients reach.", json_schema_extra={"default": {}}
    )
    rollout: Optional[Rollout] = Field(
        None,
        description="How a candidate takes over, and what may come back. Default: it does at once, when it answers on"
        " all pods.",
    )
    sampling: Optional[Sampling] = Field(
        None, description="What is kept of requests, with feedback on their answers. Default: nothing, and no feedback."
    )
    approvers: list[Annotated[Reviewer, Field(json_schema_extra=REVIEWER_RULES)]] = Field(
        [],
        max_length=MAX_REVIEWERS,
        description="Who may decide on releases here, by Approvals: promote a candidate, override its gates, or revoke"
        " what is served. Users and groups of the cluster. Default: nobody.",
        json_schema_extra=APPROVERS_RULES,
    )

    @property
    def api_keys(self) -> LocalSecret | None:
        """The Secret that names the clients; None: whoever reaches the gateway may ask."""
        return self.access.api_keys if self.access else None

    @property
    def canary(self) -> Canary | None:
        """The steps by which a candidate takes over; None: it does at once."""
        return self.rollout.canary if self.rollout else None


SPEC_RULES = rules(
    cel(
        "self.project == oldSelf.project",
        "project cannot change, for what is served was admitted in it: create another ModelDeployment",
    ),
    cel(
        "self.api == 'Task' || !has(self.contract.fallback)",
        "contract.fallback goes with api Task, whose answers are all of one form: leave it out with api OpenAI",
    ),
    # To leave replicas out is to write 1: without a default nothing could read how many are wanted.
    cel(
        "!has(self.autoscaling) || !has(self.replicas) || self.replicas == 1",
        "replicas goes without autoscaling, which decides how many pods there are: set replicas to 1, for whoever"
        " scaled it may have left another number, or remove autoscaling",
    ),
    cel(
        "!has(self.access) || !has(self.access.feedback) || has(self.sampling)",
        "access.feedback says who may give feedback, and sampling where it is kept: give sampling, such as with rate 0,"
        " or leave access.feedback out",
    ),
    cel(
        "!has(self.rollout) || !has(self.rollout.canary) ||"
        " !self.rollout.canary.steps.exists(step, step.hold == 'Manual') ||"
        " (has(self.approvers) && self.approvers.size() > 0)",
        "a step with hold Manual waits for somebody who may promote: name approvers, or give hold a length of time",
    ),
    cel(
        "!has(self.sla) || !has(self.engine.maxLength) ||"
        " self.sla.load.promptTokens + self.sla.load.outputTokens <= self.engine.maxLength",
        "sla.load.promptTokens and outputTokens together must be at most engine.maxLength: lower them, or raise it",
    ),
)


COLUMNS: list[dict[str, Any]] = [
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Run", "type": "string", "jsonPath": ".status.serving.run"},
    {"name": "Base", "type": "string", "priority": 1, "jsonPath": ".status.serving.base"},
    {"name": "Release", "type": "string", "jsonPath": ".status.serving.short"},
    {"name": "Candidate", "type": "string", "jsonPath": ".status.candidate.run"},
    {"name": "Candidate base", "type": "string", "priority": 1, "jsonPath": ".status.candidate.base"},
    {"name": "Weight", "type": "integer", "jsonPath": ".status.candidate.weight"},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "Pods", "type": "integer", "priority": 1, "jsonPath": ".status.replicas"},
    {"name": "Wanted", "type": "integer", "priority": 1, "jsonPath": ".status.autoscaling.wanted"},
    {"name": "Endpoint", "type": "string", "priority": 1, "jsonPath": ".status.endpoint"},
    {"name": "Message", "type": "string", "priority": 1, "jsonPath": '.status.conditions[?(@.type=="Ready")].message'},
]


class ModelDeployment(CustomObject):
    """A served model: which release answers, by which engines and gateways, and what takes over next."""

    spec: ModelDeploymentSpec = Field(
        description="What is to be served, how, and for whom.", json_schema_extra=SPEC_RULES
    )
    status: ModelDeploymentStatus = Field(default_factory=ModelDeploymentStatus, description="What is served.")
