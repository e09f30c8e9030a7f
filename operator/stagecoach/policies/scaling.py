"""How many pods an engine has that follows what waits: more soon, fewer slowly, and the same on what is not known."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from stagecoach.api.deployment_status import AutoscalingStatus
from stagecoach.api.modeldeployment import Autoscaling, ModelDeployment
from stagecoach.contract.times import moment, timestamp

# Of two looks at what waits the second is so much later at least.
UP_AFTER = timedelta(seconds=5)
DOWN_AFTER = timedelta(minutes=5)
# At a time there are at most so many times as many.
FACTOR = 2
# One pod fewer would do when what is computed takes at most one in so many of the places that are left.
SPARE = 2


@dataclass(frozen=True)
class Unknown:
    """Why that is not known, with what to do."""

    message: str
    unheard: bool = False  # nobody has asked yet


@dataclass(frozen=True)
class Look:
    """What the ready pods of the busiest engine say together, those that say something."""

    pods: int
    waiting: int
    running: int
    at: datetime  # of the oldest of what they said
    silent: Unknown | None = None  # of a pod that says nothing: it may have much to do
    silent_pods: int = 0  # of this engine
    fails: str = ""  # why a pod that is wanted does not start, with what to do


@dataclass(frozen=True)
class Decision:
    """How many pods are wanted from now on, and why."""

    status: AutoscalingStatus
    reason: str
    message: str
    moved: str = ""  # why it is another number than before; empty: it is not
    follows: bool = True  # whether the number is what waits takes
    unheard: bool = False  # nobody has asked yet what waits


def pods(deployment: ModelDeployment, before: int | None = None) -> int:
    """Return how many pods an engine is to have now. `before`: as many as that of what serves was to have."""
    asked, told = deployment.spec.autoscaling, deployment.status.autoscaling
    if asked is None:
        return deployment.spec.replicas
    return _bounded(asked, told.wanted if told else before or asked.min)


def decide(
    asked: Autoscaling,
    at_once: int,
    before: AutoscalingStatus,
    look: Look | Unknown,
    now: datetime,
    *,
    switching: bool,
) -> Decision:
    """Return what comes next. `at_once`: requests that a pod computes at a time. `switching`: no pod goes meanwhile."""
    wanted = _bounded(asked, before.wanted)
    if wanted != before.wanted:
        return _moved(wanted, None, now, f"spec.autoscaling has min {asked.min} and max {asked.max}.")
    steady = before.model_copy(update={"more_since": None, "fewer_since": None})
    if isinstance(look, Unknown):
        return _unknown(steady, look)
    if look.waiting > asked.waiting_requests * look.pods:
        return _more(asked, before, steady, look, now)
    if look.silent is not None:
        return _unknown(steady, look.silent)
    places = at_once * min(look.pods, wanted - 1)
    if wanted > asked.min and not switching and look.waiting == 0 and look.running * SPARE <= places:
        return _fewer(before, steady, now)
    message = f"{wanted} engine pods do: no more than {asked.waiting_requests} requests wait for each of them."
    return Decision(steady, "Enough", message)


def _unknown(steady: AutoscalingStatus, why: Unknown) -> Decision:
    message = f"There stay {steady.wanted} engine pods: {why.message}"
    return Decision(steady, "LoadUnknown", message, follows=False, unheard=why.unheard)


def _more(
    asked: Autoscaling, before: AutoscalingStatus, steady: AutoscalingStatus, look: Look, now: datetime
) -> Decision:
    wanted, too_many = before.wanted, f"more than {asked.waiting_requests} requests wait for each pod"
    if look.pods + look.silent_pods < wanted:
        if look.fails:
            message = f"{too_many.capitalize()}, and not all of {wanted} engine pods start: {look.fails}"
            return Decision(steady, "PodsFail", message, follows=False)
        message = f"{too_many.capitalize()}, and not all of {wanted} engine pods are ready: they are waited for."
        return Decision(steady, "PodsStarting", message)
    if wanted == asked.max:
        message = f"{too_many.capitalize()}, and spec.autoscaling.max is {asked.max}."
        return Decision(steady, "AtMost", f"{message} Raise it, or let clients ask less.", follows=False)
    since = _begun(before.more_since, now)
    if since is None or look.at - since < UP_AFTER:
        since = since or now
        message = f"{too_many.capitalize()} since {timestamp(since)}: if they do at the next look, there are more pods."
        return Decision(steady.model_copy(update={"more_since": timestamp(since)}), "MoreWait", message)
    takes = -(-look.waiting // asked.waiting_requests)
    number = min(asked.max, FACTOR * wanted, max(wanted + 1, takes))
    why = f"{look.waiting} requests wait, and spec.autoscaling.waitingRequests of each pod is {asked.waiting_requests}."
    return _moved(number, look.waiting, now, why)


def _fewer(before: AutoscalingStatus, steady: AutoscalingStatus, now: datetime) -> Decision:
    since, minutes = _begun(before.fewer_since, now), DOWN_AFTER // timedelta(minutes=1)
    if since is not None and now - since >= DOWN_AFTER:
        return _moved(
            before.wanted - 1, 0, now, f"for {minutes} minutes nothing waited, and one fewer would have done."
        )
    since = since or now
    message = f"One engine pod fewer would do since {timestamp(since)}: it goes after {minutes} minutes of that."
    return Decision(steady.model_copy(update={"fewer_since": timestamp(since)}), "FewerDo", message)


def _moved(wanted: int, waiting: int | None, now: datetime, why: str) -> Decision:
    status = AutoscalingStatus(wanted=wanted, at=timestamp(now), waiting=waiting)
    return Decision(status, "Scaled", f"{wanted} engine pods since {status.at}: {why}", moved=why)


def _bounded(asked: Autoscaling, number: int) -> int:
    return max(asked.min, min(asked.max, number))


def _begun(text: str | None, now: datetime) -> datetime | None:
    """Return since when something is so; None when it is not, or the clock went back."""
    since = moment(text) if text else None
    return since if since is not None and since <= now else None
