"""What a FineTuneRun's reconcile looks at."""

from dataclasses import dataclass

from pydantic import ValidationError

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.reports import Progress
from stagecoach.kinds.children import Child, child, unfinished
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View
from stagecoach.policies.pods import pod_state


@dataclass(frozen=True)
class Observed:
    """A run and all that its next step depends on."""

    run: FineTuneRun
    project: TransformerProject | None
    unfinished: tuple[Object, ...]  # Jobs, of whatever attempt
    current: Child  # the current attempt's
    progress: Progress | None
    stopping: bool  # a pod of an attempt that has ended still runs: it may be saving a checkpoint


def project_key(run: Object) -> Key:
    """Return the project that a run names."""
    return Key("TransformerProject", run["metadata"]["namespace"], run["spec"].get("project", ""))


def observe(view: View, raw: Object) -> Observed:
    """Collect what is in memory. Raises ValidationError for a run that its model refuses."""
    run = FineTuneRun.model_validate(raw)
    uid, attempts = run.metadata.uid, run.status.attempts
    current = child(view, uid, attempts[-1].job) if attempts else Child()
    return Observed(
        run=run,
        project=_project(view, raw),
        unfinished=unfinished(view, uid),
        current=current,
        progress=view.progress(current.pod.uid) if current.pod else None,
        stopping=any(pod.phase == "Running" and not pod.ended for pod in map(pod_state, view.pods(uid))),
    )


def _project(view: View, raw: Object) -> TransformerProject | None:
    found = view.get(project_key(raw))
    try:
        return TransformerProject.model_validate(found) if found else None
    except ValidationError:
        # The project's own status says what is wrong with it; to a run it is as good as absent.
        return None
