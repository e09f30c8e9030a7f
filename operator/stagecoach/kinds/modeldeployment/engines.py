"""What engines say of the releases that they are to answer for: their Deployments, their pods, and loaders in these."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from stagecoach.contract import loading, serving
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.loading import Loaded, LoadedModel, State, Wanted
from stagecoach.kinds.modeldeployment import stuck
from stagecoach.kinds.modeldeployment.pods import Complaint, Pod, first_complaint
from stagecoach.kinds.modeldeployment.routes import model_name
from stagecoach.kinds.plan import Call, Object
from stagecoach.kinds.view import Answer

# What a loader said longer ago says nothing about now: three times as long as between two questions at rest.
FRESH = timedelta(seconds=45)
# The Deployment's controller makes pods within seconds, or says why it cannot.
PODS_PATIENCE = timedelta(seconds=60)
# A pod that is not ready for so long may never be: what serves does without it.
GIVEN_UP = timedelta(minutes=5)
# Nodes hear of a pod that is ready so late: until then its Service leads nowhere from some of them.
HEARD_OF = timedelta(seconds=5)
SEE_TO_THE_CONTROLLER = "If no Deployment gets pods, see to the cluster's kube-controller-manager."
OTHER_VERSION = "Whoever installed the operator sets all images of the chart to one version."


STARTING = Complaint("Starting", "The engine is starting.")
SCALED_TO_ZERO = "ScaledToZero"  # of what nobody wants any pods for
COLD_START = "ColdStart"  # of what nobody wanted any pods for, and wants them for by now
NEW = Complaint("Starting", f"The engine answers, and gateways find it in {HEARD_OF.seconds} seconds. Nothing to do.")


@dataclass(frozen=True)
class Engine:
    """An engine: its Deployment, its pods that stay, and what was last heard of their loaders."""

    name: str
    found: Object | None
    pods: tuple[Pod, ...]
    heard: Mapping[str, Answer]  # by the pod's uid

    @property
    def ready(self) -> tuple[Pod, ...]:
        """The pods that requests may reach."""
        return tuple(pod for pod in self.pods if pod.ready)


@dataclass(frozen=True)
class Answering:
    """Which of an engine's pods answer with a release, and why others do not."""

    pods: int = 0
    everywhere: bool = False  # on all that are ready, and there are as many as are wanted
    failed: Complaint | None = None  # what a loader says that will not pass by itself
    waits: Complaint = STARTING
    unheard: bool = False  # of a pod that requests reach nobody knows anything yet: this process has not asked it


def of_name(name: str, deployments: Mapping[str, Object], pods: Iterable[Pod], heard: Mapping[str, Answer]) -> Engine:
    """Return an engine as it is seen."""
    own = tuple(pod for pod in pods if pod.engine == name and not pod.leaving)
    return Engine(name, deployments.get(name), own, {pod.uid: heard[pod.uid] for pod in own if pod.uid in heard})


def wanted(releases: Iterable[Admitted]) -> Wanted:
    """Return which adapters an engine is to answer with."""
    adapters = [each.described.release.artifact for each in releases if each.artifact == "Adapter"]
    return Wanted(adapters=tuple(dict.fromkeys(digest for digest in adapters if digest)))


def questions(engine: Engine, adapters: Wanted, token: str) -> Iterator[Call]:
    """Ask the loader of each pod for these adapters, whatever it said before."""
    body = adapters.line().encode()
    for pod in engine.pods:
        if pod.reachable:
            yield Call(pod.uid, pod.address, loading.PORT, "PUT", loading.PATH, token, body)


def answering(
    engine: Engine, admitted: Admitted, replicas: int, now: datetime, silent: datetime | None = None
) -> Answering:
    """Return whether an engine answers with a release: said by each loader lately, after an answer of the model.

    `silent`: since when none did, as far as that is known.
    """
    name = model_name(admitted)
    heard = {pod.uid: _heard(engine.heard.get(pod.uid), now) for pod in engine.pods}
    good = {uid for uid, loaded in heard.items() if loaded and _answers(loaded, name)}
    ready = engine.ready
    answer = sum(pod.uid in good for pod in ready)
    failed = next(filter(None, (_failed(loaded, name) for loaded in heard.values() if loaded)), None)
    enough = answer >= max(1, replicas)
    if enough and answer == len(ready):
        new = any(_is_new(pod, now) for pod in ready)
        return Answering(answer, everywhere=not new, failed=failed, waits=NEW if new else STARTING)
    waits = failed or _waits(engine, name, heard, len(ready), replicas, silent, now)
    return Answering(answer, failed=failed, waits=waits, unheard=any(pod.uid not in engine.heard for pod in ready))


def asked(engine: Engine, adapters: Wanted, now: datetime) -> bool:
    """Whether each pod that may be asked for these adapters was, lately: whatever it said, or that it said nothing."""
    body = adapters.line().encode()
    answers = [engine.heard.get(pod.uid) for pod in engine.pods if pod.reachable]
    return all(each is not None and each.asked == body and now - each.at <= FRESH for each in answers)


def counted_on(engine: Engine, replicas: int, now: datetime) -> int:
    """Return how many of the pods that an engine should have it has, or will have soon: others do not start.

    One that is away for a moment comes back, and has its part of the requests then.
    """
    late = sum(not pod.ready and pod.changed is not None and now - pod.changed >= GIVEN_UP for pod in engine.pods)
    refused = stuck.refused_since(engine.found)
    unmade = 0 if refused is not None and now - refused >= GIVEN_UP else max(0, replicas - len(engine.pods))
    return min(replicas, len(engine.pods) - late + unmade)


def _is_new(pod: Pod, now: datetime) -> bool:
    return pod.since is not None and timedelta() <= now - pod.since < HEARD_OF


def _heard(answer: Answer | None, now: datetime) -> Loaded | None:
    if answer is None or answer.status != 200 or now - answer.at > FRESH:
        return None
    try:
        return Loaded.model_validate_json(answer.body)
    except ValidationError:
        return None


def _answers(said: Loaded, name: str) -> bool:
    model = said.of(name)
    return model is not None and model.answers


def _failed(said: Loaded, name: str) -> Complaint | None:
    """Return what failed: the model, or what it is an adapter of."""
    model = said.of(name)
    if model is not None and model.state is State.ANSWERS:
        return None
    failed = [each for each in said.models if each.state is State.FAILED and (each is model or _is_base(said, each))]
    return Complaint(failed[0].reason or serving.NOT_READY, failed[0].message) if failed else None


def _is_base(said: Loaded, model: LoadedModel) -> bool:
    """Whether all others are adapters of this one: the loader tells it first."""
    return said.models[0] is model


def _waits(
    engine: Engine,
    name: str,
    heard: Mapping[str, Loaded | None],
    ready: int,
    replicas: int,
    silent: datetime | None,
    now: datetime,
) -> Complaint:
    """Return what an engine waits for, the most telling first."""
    if engine.found is None:
        return Complaint("Starting", f"Deployment {engine.name} is being made.")
    if complaint := _of_deployment(engine, silent, now) or first_complaint(engine.pods):
        return complaint
    loading_ones = (said.of(name) for said in heard.values() if said)
    slow = next((each for each in loading_ones if each and each.message and each.state is not State.ANSWERS), None)
    if slow:
        return Complaint(slow.reason or serving.NOT_READY, slow.message)
    if strange := _strange(engine):
        return strange
    return Complaint("Starting", f"{ready} of {max(1, replicas)} pods of engine {engine.name} are ready and asked.")


def _of_deployment(engine: Engine, silent: datetime | None, now: datetime) -> Complaint | None:
    if refused := stuck.refused(engine.found):
        return refused
    since = stuck.podless_since(engine.found, silent)
    if not engine.pods and since is not None and now - since > PODS_PATIENCE:
        return Complaint("PodMissing", f"Deployment {engine.name} has no pod. {SEE_TO_THE_CONTROLLER}")
    return None


def _strange(engine: Engine) -> Complaint | None:
    """Return what a loader answers that is none of its answers."""
    for pod in engine.pods:
        answer = engine.heard.get(pod.uid)
        if answer is not None and answer.status not in (0, 200, 503):
            words = answer.body[:200].decode(errors="replace").rstrip(". ")
            message = f"The loader of pod {pod.name} answers with status {answer.status}: {words}. {OTHER_VERSION}"
            return Complaint("LoaderRefuses", message)
    return None
