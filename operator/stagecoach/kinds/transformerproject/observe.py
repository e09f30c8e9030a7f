"""What a TransformerProject's reconcile looks at."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs
from stagecoach.contract.digests import digest_of_document
from stagecoach.kinds.children import Child, child, ending, pods_of, unfinished
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View
from stagecoach.policies import retention

# Enough to tell runs apart; where two begin alike, one too many keeps its checkpoints.
UID_BEGINS = 13


@dataclass(frozen=True)
class Observed:
    """A project and all that its next step depends on."""

    project: TransformerProject
    has_succeeded_run: bool  # whose record is in the storage that the spec names
    unfinished: tuple[Object, ...]  # Jobs, of whatever attempt
    current: Child  # the current resolution's
    ending: bool  # a pod whose trainer has ended goes on, because of what was injected beside it
    # Of retention:
    passes: tuple[Object, ...] = ()  # its unfinished Jobs
    last_pass: int = 0  # the highest number of a Job of it that is still there
    current_pass: Child = field(default_factory=Child)
    made: str = ""  # identity of the artifacts that the project's runs have
    named: tuple[str, ...] = ()  # what is in use, when a Job has to be told
    run_uids: tuple[str, ...] = ()  # likewise, of those that have not ended


def observe(view: View, raw: Object, now: datetime) -> Observed:
    """Collect what is in memory. Raises ValidationError for a project that its model refuses."""
    project = TransformerProject.model_validate(raw)
    uid, resolution = project.metadata.uid, project.status.resolution
    pods = pods_of(view, uid)
    going_on = unfinished(view, uid, pods, now)
    numbers = [_pass(project, job) or 0 for job in view.jobs(uid)]
    observed = Observed(
        project=project,
        has_succeeded_run=_has_succeeded_run(view, project),
        unfinished=going_on,
        current=child(view, uid, resolution.job, pods) if resolution else Child(),
        ending=ending(pods),
        passes=tuple(job for job in going_on if _pass(project, job)),
        last_pass=max(numbers, default=0),
    )
    return _with_storage(observed, view) if project.spec.storage.retention else observed


def _with_storage(observed: Observed, view: View) -> Observed:
    """Add what retention has to know. What is in use is looked for only when a Job is told, for it takes time."""
    project, told = observed.project, observed.project.status.retention
    runs = _runs(view, project)
    artifacts = {run.get("status", {}).get("artifact", {}).get("digest", "") for run in runs}
    seen = replace(observed, made=digest_of_document(sorted(artifacts)))
    if told is None or told.completion_time is not None:
        return seen
    current = child(view, project.metadata.uid, told.job, pods_of(view, project.metadata.uid))
    if current.job is not None:
        return replace(seen, current_pass=current)
    going_on = [run for run in runs if "completionTime" not in run.get("status", {})]
    uids = tuple(sorted(str(run["metadata"]["uid"])[:UID_BEGINS] for run in going_on))
    return replace(seen, current_pass=current, named=_named(view), run_uids=uids)


def _named(view: View) -> tuple[str, ...]:
    """Return what the objects of the cluster name, of whatever project: several may have one storage."""
    objects = list(view.everything())
    served = (item["metadata"]["uid"] for item in objects if item["kind"] == "ModelDeployment")
    return retention.named(objects, (document for uid in served for document in view.config_maps(uid)))


def _pass(project: TransformerProject, job: Object) -> int | None:
    return jobs.number_of(project, "k", job["metadata"]["name"])


def _key(project: TransformerProject) -> Key:
    return Key("TransformerProject", project.metadata.namespace, project.metadata.name)


def _runs(view: View, project: TransformerProject) -> list[Object]:
    """Return the project's runs: gates and Evaluations refer to it as well."""
    return [item for item in view.referrers(_key(project)) if item["kind"] == "FineTuneRun"]


def _has_succeeded_run(view: View, project: TransformerProject) -> bool:
    """Look through the project's runs, unless it is known already that the storage holds records."""
    if project.status.storage and project.status.storage.records:
        return True
    return any(_has_record_in(project.spec.storage.uri, run.get("status", {})) for run in _runs(view, project))


def _has_record_in(storage: str, run: Object) -> bool:
    return run.get("phase") == "Succeeded" and run.get("inputs", {}).get("storage") == storage
