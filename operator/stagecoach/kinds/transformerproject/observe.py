"""What a TransformerProject's reconcile looks at."""

from dataclasses import dataclass

from stagecoach.api.transformerproject import TransformerProject
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View
from stagecoach.policies.pods import JobState, PodState, decisive, job_state, pod_state

JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Observed:
    """A project and all that its next step depends on."""

    project: TransformerProject
    has_succeeded_run: bool
    jobs: tuple[Object, ...]
    job: JobState | None  # of the current resolution
    pod: PodState | None  # of the current resolution
    warning: str | None


def observe(view: View, raw: Object) -> Observed:
    """Collect what is in memory. Raises ValidationError for a project that its model refuses."""
    project = TransformerProject.model_validate(raw)
    uid = project.metadata.uid
    current = project.status.resolution.job if project.status.resolution else ""
    jobs = tuple(view.jobs(uid))
    job = next((job for job in jobs if job["metadata"]["name"] == current), None)
    pod = decisive(
        pod_state(pod) for pod in view.pods(uid) if pod["metadata"].get("labels", {}).get(JOB_NAME) == current
    )
    complaint = pod.uid if pod else job["metadata"]["uid"] if job else ""
    return Observed(
        project=project,
        has_succeeded_run=_has_succeeded_run(view, project),
        jobs=jobs,
        job=job_state(job) if job else None,
        pod=pod,
        warning=view.warning(complaint) if complaint else None,
    )


def _has_succeeded_run(view: View, project: TransformerProject) -> bool:
    """Look through the project's runs, unless it is known already that the storage holds records."""
    if project.status.storage and project.status.storage.records:
        return True
    key = Key("TransformerProject", project.metadata.namespace, project.metadata.name)
    return any(run.get("status", {}).get("phase") == "Succeeded" for run in view.referrers(key))
