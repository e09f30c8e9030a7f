"""What the operator says of a ModelDeployment. All that its next step depends on is here, and not in memory."""

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from stagecoach.api.common import Condition, Digest, Enum, Name, ObjectName, Optional, Time, Told, keyed
from stagecoach.api.of_a_release import OfARelease
from stagecoach.api.sla import MAX_MEASURED, LoadTest, Measured

MAX_REJECTED = 20
MAX_HISTORY = 20
MAX_GATEWAYS = 32
MAX_ENGINES = 8
MAX_PROMOTIONS = 20


class DeploymentPhase(Enum):
    """Where a deployment is, in one word."""

    PENDING = "Pending"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    UNAVAILABLE = "Unavailable"


class PassedGate(Told):
    """A verdict by which a release was admitted."""

    gate: Name = Field(description="The EvalGate.")
    evaluation: ObjectName = Field(description="The Evaluation that passed.")
    key: Digest = Field(description="Its key: what it was judged by.")


class Decided(Told):
    """What somebody decided on a release."""

    approval: ObjectName = Field(description="The Approval.")
    uid: str = Field(max_length=64, description="Its uid.")
    reviewer: str = Field(max_length=256, description="Who has decided.")
    reason: str = Field(max_length=1024, description="Why, in their words.")


class Overridden(Decided):
    """By whom a release was admitted whatever gates say."""

    until: Time = Field(description="Until then it could be admitted; what is served by then stays.")


class Revoked(Decided, OfARelease):
    """What was served, and was taken out."""

    release: Digest = Field(description="Identity of the release.")
    at: Time = Field(description="When.")


class Promotion(Told):
    """A Promote that was taken into account. It is once."""

    approval: ObjectName = Field(description="The Approval.")
    uid: str = Field(max_length=64, description="Its uid.")
    created: Time = Field(description="When somebody decided: what is older has no effect any more.")
    reviewer: str = Field(max_length=256, description="Who has decided.")
    release: Digest = Field(description="Identity of the release.")
    at: Time = Field(description="When its release went on, or was rejected after it was made.")


class Served(OfARelease):
    """A release, and what answers for it."""

    release: Digest = Field(description="Identity of the release.")
    short: str = Field(max_length=12, description="The first 12 hex digits of it, as metrics and answers' tables have.")
    artifact: Optional[Digest] = Field(
        None, description="Adapter or model that it is of: retention leaves it alone. Absent: of none, or not noted."
    )
    run_created: Optional[Time] = Field(
        None, description="When that run was created: what is newer may replace it. Absent: any run may."
    )
    admitted: ObjectName = Field(description="ConfigMap that says all of it, as it was when it was admitted.")
    engine: ObjectName = Field(description="Deployment of the engine that answers.")
    engine_image: str = Field(max_length=512, description="Image of that engine, frozen when the release was admitted.")
    loader_image: str = Field(max_length=512, description="Image of what brings it its models, frozen likewise.")
    gates: list[PassedGate] = Field(
        [], max_length=8, description="Verdicts by which it was admitted.", json_schema_extra=keyed("gate")
    )
    override: Optional[Overridden] = Field(
        None, description="By whom it was admitted without these, and has not passed the gates since then."
    )
    since: Time = Field(description="Serving: since when it has all requests. Candidate: when it was admitted.")

    @model_validator(mode="after")
    def _was_let_in(self) -> Self:
        if not self.gates and self.override is None:
            raise ValueError("a release without verdicts is there by an override, or not at all")
        if (self.run is None) != (self.run_created is None):
            raise ValueError("runCreated goes with run")
        return self

    @property
    def origin(self) -> tuple[str, str, str]:
        """What tells a run from another that has its name by now, and from a base: of this no creation is known."""
        return self.run or "", self.base or "", self.run_created or ""


class Seen(Told):
    """What a gateway had counted of the candidate when it was last asked."""

    gateway: str = Field(max_length=64, description="The pod's uid.")
    started: Time = Field(description="Since when it counts.")
    requests: int = Field(description="Requests that ended, but for those that say nothing of the release.")
    errors: int = Field(description="Those of them that failed by our fault.")
    unanswered: int = Field(0, description="Besides, those that its engine refused, or whose clients left.")


class Candidate(Served):
    """A release that is about to be served."""

    load_test: Optional[LoadTest] = Field(
        None, description="The Job that tests it. Absent: nobody asks for a test, or spec.sla is met."
    )
    asked: Optional[Time] = Field(
        None, description="Since when its engine is asked for it: only then startDeadline begins to run."
    )
    refused: Optional[Time] = Field(
        None, description="Since when the cluster refuses a part of it, such as by a quota."
    )
    step: Optional[int] = Field(None, description="Of rollout.canary.steps, from 0. Absent: it has no requests yet.")
    weight: Optional[int] = Field(None, ge=1, le=100, description="Of 100 requests so many go to it.")
    step_since: Optional[Time] = Field(None, description="Since when gateways are told to give it this weight.")
    weight_since: Optional[Time] = Field(
        None, description="Since when gateways do, and clients reach one: only then the hold of its step begins to run."
    )
    weight_until: Optional[Time] = Field(None, description="When gateways take the weight away if it is not renewed.")
    held_since: Optional[Time] = Field(
        None, description="Since when it waits for nothing but that somebody promotes it: only then a Promote counts."
    )
    requests: int = Field(
        0, description="Requests that ended since this step began, but for those that say nothing of the release."
    )
    errors: int = Field(0, description="Those of them that failed by our fault.")
    unanswered: int = Field(
        0,
        description="Besides, those that its engine refused, or whose clients left; by these alone it does not go on.",
    )
    seen: list[Seen] = Field(
        [],
        max_length=MAX_GATEWAYS,
        description="What each gateway had counted when it was last asked.",
        json_schema_extra=keyed("gateway"),
    )


class Rejected(OfARelease):
    """A release that is not tried again, until the deployment's spec changes, or somebody promotes it."""

    release: Digest = Field(description="Identity of the release.")
    run_created: Optional[Time] = Field(None, description="When that run was created.")
    reason: str = Field(max_length=64, description="Why, in one word.")
    message: str = Field(max_length=1024, description="Why, in words.")
    engine: ObjectName = Field(description="Deployment of the engine on which it was tried.")
    spec: Digest = Field(
        description="Identity of model, gates, engine, rollout, api and sla as they were: with others it is tried"
        " again."
    )
    at: Time = Field(description="When.")


class PassedOver(Told):
    """Runs that neither model.latest nor model.follow takes: of some rejected ones `rejected` says nothing any more."""

    run_created: Time = Field(description="When the newest of these was created: nor is any older one taken.")
    spec: Digest = Field(description="Identity of what was asked for then, as `rejected` has it: with others they are.")


class ClientKeys(Enum):
    """Whether gateways ask clients for keys."""

    OFF = "Off"
    TOLD = "Told"
    IN_FORCE = "InForce"


class RoutesStatus(Told):
    """What gateways are told."""

    revision: int = Field(ge=1, le=1 << 53, description="Grows with every change.")
    digest: Digest = Field(description="Identity of what is told, without the revision.")
    since: Time = Field(description="Since when it is this revision.")
    client_keys: Optional[ClientKeys] = Field(
        None,
        description="Off: whoever reaches a gateway may ask, also while spec.access.apiKeys waits for gateways that"
        " know the Secret. Told: all of them are told to ask for keys. InForce: all of them do, by the Secret that"
        " each was started with.",
    )
    gateways: int = Field(0, description="Gateways that are ready.")
    acknowledged: int = Field(0, description="Those of them that have this revision.")


class ContractStatus(Told):
    """The API contract, as an OpenAPI document."""

    config_map: ObjectName = Field(description="The ConfigMap that has it, at openapi.json.")
    digest: Digest = Field(
        description="SHA-256 of that text, which gateways answer at /openapi.json once they have the routes."
    )


class RetiringEngine(Told):
    """An engine that nothing is routed to any more."""

    name: ObjectName = Field(description="Its Deployment.")
    since: Time = Field(description="Since when every gateway knows that. It goes some time later.")


class HistoryEntry(OfARelease):
    """A release that had all requests."""

    release: Digest = Field(description="Identity of the release.")
    artifact: Optional[Digest] = Field(None, description="Adapter or model that it is of: retention leaves it alone.")
    since: Time = Field(description="From then on.")
    gates: list[PassedGate] = Field(
        [],
        max_length=8,
        description="Verdicts by which it was admitted: it may come back by them, as rollout.rollbackWindow says.",
        json_schema_extra=keyed("gate"),
    )
    override: Optional[Overridden] = Field(None, description="By whom it was admitted whatever gates said.")


class AutoscalingStatus(Told):
    """How many engine pods there are to be, as spec.autoscaling wants them."""

    wanted: int = Field(ge=1, le=64, description="Engine pods that are wanted.")
    at: Time = Field(description="Since when it is as many.")
    waiting: Optional[int] = Field(
        None, description="Requests that waited for the busiest engine then. Absent: they were not the reason."
    )
    more_since: Optional[Time] = Field(
        None, description="Since when more wait than spec.autoscaling.waitingRequests for each pod."
    )
    fewer_since: Optional[Time] = Field(None, description="Since when one pod fewer would do.")


class ModelDeploymentStatus(Told):
    """What is served."""

    observed_generation: Optional[int] = Field(None, description="The metadata.generation that this status is about.")
    phase: Optional[DeploymentPhase] = Field(
        None,
        description="Pending: nothing was admitted yet. Available: it serves, and nothing else is to come. Progressing:"
        " it serves, and a candidate is about to take over. Degraded: it serves, and something needs you, see"
        " conditions. Unavailable: something was admitted, and does not answer or was revoked.",
    )
    conditions: list[Condition] = Field(
        [],
        max_length=12,
        description="Ready: it serves well, whatever a candidate does. Gated: what is served has passed the gates as"
        " they are now. Loaded: engines answer with it. SLAMet: it has reached spec.sla. CandidateAdmitted: what is"
        " wanted has passed, or why not. Autoscaled: there are as many pods as spec.autoscaling takes, or why not."
        " Reconciling and Stalled as kstatus has them.",
        json_schema_extra=keyed("type"),
    )
    serving: Optional[Served] = Field(None, description="The release that answers.")
    candidate: Optional[Candidate] = Field(None, description="The release that is about to take over.")
    rejected: list[Rejected] = Field(
        [],
        max_length=MAX_REJECTED,
        description="Releases that were tried and went back: tried again when the spec changes, or by a Promote.",
        json_schema_extra=keyed("release"),
    )
    passed_over: Optional[PassedOver] = Field(
        None,
        description="Runs that neither model.latest nor model.follow takes, as more were rejected than `rejected` has"
        " room for.",
    )
    revoked: Optional[Revoked] = Field(
        None, description="What was served until somebody revoked it, while nothing else is served since then."
    )
    promotions: list[Promotion] = Field(
        [], max_length=MAX_PROMOTIONS, description="Promotes that were taken into account, the newest first."
    )
    sla: list[Measured] = Field(
        [],
        max_length=MAX_MEASURED,
        description="What load tests have last measured of releases on their engines, the newest first.",
        json_schema_extra=keyed("release", "engine"),
    )
    load_tests: int = Field(0, description="Number of the newest Job of a load test: no two have one name.")
    routes: Optional[RoutesStatus] = Field(None, description="What gateways are told.")
    contract: Optional[ContractStatus] = Field(
        None, description="What clients may rely on. Absent: nothing was told yet, or no ConfigMap can have it."
    )
    retiring: list[RetiringEngine] = Field(
        [], max_length=MAX_ENGINES, description="Engines that go.", json_schema_extra=keyed("name")
    )
    history: list[HistoryEntry] = Field(
        [], max_length=MAX_HISTORY, description="What had all requests, the newest first."
    )
    endpoint: Optional[str] = Field(None, max_length=512, description="Where clients in the cluster ask.")
    autoscaling: Optional[AutoscalingStatus] = Field(None, description="How many engine pods spec.autoscaling takes.")
    samples: Optional[str] = Field(
        None, max_length=512, description="Where gateways write samples and feedback: pvc://<claim>/<folder>."
    )
    replicas: Optional[int] = Field(None, description="Engine pods of what is served, as kubectl scale sees them.")
    selector: Optional[str] = Field(None, max_length=512, description="Of these pods, for autoscalers.")

    @field_validator("phase", mode="before")
    @classmethod
    def _known(cls, word: Any) -> Any:
        """Forget a word of a later version: it is only for people, and said anew."""
        return None if isinstance(word, str) and word not in {each.value for each in DeploymentPhase} else word
