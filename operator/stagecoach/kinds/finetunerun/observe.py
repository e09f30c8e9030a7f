"""What a FineTuneRun's reconcile looks at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.run_status import Attempt, Intent
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.reports import Progress
from stagecoach.kinds.children import Child, child, ending, pods_of, unfinished, without_logs
from stagecoach.kinds.finetunerun import nodes
from stagecoach.kinds.finetunerun.twins import ended_twins, twins
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View
from stagecoach.policies.pods import PodState
from stagecoach.policies.sharing import Claim
from stagecoach.policies.twins import Twin

# Why a run is blocked that waits for another one.
SAME_INPUTS = "SameInputs"


@dataclass(frozen=True)
class Observed:
    """A run and all that its next step depends on."""

    run: FineTuneRun
    project: TransformerProject | None
    unfinished: tuple[Object, ...]  # Jobs, of whatever attempt
    without_logs: tuple[Object, ...]  # Jobs that ended a while ago, none of whose pods ran, or is left
    current: Child  # the current attempt's
    progress: Progress | None
    stopping: bool  # a pod of an attempt that has ended still runs: it may be saving a checkpoint
    ending: bool = False  # a pod whose trainer has ended goes on, because of what was injected beside it
    services: tuple[Object, ...] = ()
    claims: Mapping[str, Claim | None] = field(default_factory=dict)  # that pods on several nodes share; None: not seen
    twins: tuple[Twin, ...] = ()  # runs of the same inputs that decide something; none before these are fixed
    ended_twins: tuple[str, ...] = ()  # uids of those that have ended, the newest of many


def project_key(run: Object) -> Key:
    """Return the project that a run names."""
    return Key("TransformerProject", run["metadata"]["namespace"], run["spec"].get("project", ""))


def observe(view: View, raw: Object, now: datetime) -> Observed:
    """Collect what is in memory. Raises ValidationError for a run that its model refuses."""
    run = FineTuneRun.model_validate(raw)
    uid, attempts = run.metadata.uid, run.status.attempts
    project = _project(view, raw)
    pods = pods_of(view, uid)
    current = _current(view, run, attempts[-1], pods) if attempts else Child()
    return Observed(
        run=run,
        project=project,
        unfinished=unfinished(view, uid, pods, now),
        without_logs=without_logs(view, uid, pods, now),
        current=current,
        progress=view.progress(current.lead.uid) if current.lead else None,
        stopping=any(pod.phase == "Running" and not pod.ended for pod in pods),
        ending=ending(pods),
        services=tuple(view.services(uid)),
        claims={name: view.claim(run.metadata.namespace, name) for name in nodes.claims(run, project)},
        twins=twins(view, raw, now),
        ended_twins=ended_twins(view, raw),
    )


def _current(view: View, run: FineTuneRun, attempt: Attempt, pods: Iterable[PodState]) -> Child:
    several = run.spec.resources.nodes if attempt.intent is Intent.TRAIN else 1
    return child(view, run.metadata.uid, attempt.job, pods, several, started=attempt.start is not None)


def _project(view: View, raw: Object) -> TransformerProject | None:
    try:
        return view.read(project_key(raw), TransformerProject.model_validate)
    except ValidationError:
        # The project's own status says what is wrong with it; to a run it is as good as absent.
        return None
