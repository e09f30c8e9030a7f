"""What a FineTuneRun's reconcile looks at."""

from dataclasses import dataclass

from pydantic import ValidationError

from stagecoach.api.finetunerun import Attempt, FineTuneRun
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.reports import Progress
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View
from stagecoach.policies.pods import JobState, PodState, decisive, job_state, pod_state

JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Observed:
    """A run and all that its next step depends on."""

    run: FineTuneRun
    project: TransformerProject | None
    jobs: tuple[Object, ...]
    job: JobState | None = None  # of the current attempt
    pod: PodState | None = None  # of the current attempt
    warning: str | None = None
    progress: Progress | None = None


def project_key(run: Object) -> Key:
    """Return the project that a run names."""
    return Key("TransformerProject", run["metadata"]["namespace"], run["spec"].get("project", ""))


def observe(view: View, raw: Object) -> Observed:
    """Collect what is in memory. Raises ValidationError for a run that its model refuses."""
    run = FineTuneRun.model_validate(raw)
    jobs = tuple(view.jobs(run.metadata.uid))
    observed = Observed(run=run, project=_project(view, raw), jobs=jobs)
    return _with_attempt(observed, view, run.status.attempts[-1]) if run.status.attempts else observed


def _project(view: View, raw: Object) -> TransformerProject | None:
    found = view.get(project_key(raw))
    try:
        return TransformerProject.model_validate(found) if found else None
    except ValidationError:
        # The project's own status says what is wrong with it; to a run it is as good as absent.
        return None


def _with_attempt(observed: Observed, view: View, attempt: Attempt) -> Observed:
    job = next((job for job in observed.jobs if job["metadata"]["name"] == attempt.job), None)
    pods = (
        pod_state(pod)
        for pod in view.pods(observed.run.metadata.uid)
        if pod["metadata"].get("labels", {}).get(JOB_NAME) == attempt.job
    )
    pod = decisive(pods)
    complaint = pod.uid if pod else job["metadata"]["uid"] if job else ""
    return Observed(
        run=observed.run,
        project=observed.project,
        jobs=observed.jobs,
        job=job_state(job) if job else None,
        pod=pod,
        warning=view.warning(complaint) if complaint else None,
        progress=view.progress(pod.uid) if pod else None,
    )
