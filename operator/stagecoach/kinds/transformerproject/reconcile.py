"""What a TransformerProject needs next. Pure: everything that counts is in its status, its Job and its pod."""

from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.resolved import ReportedFinding, Resolution
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.jobs import ResolveJob
from stagecoach.contract.times import timestamp
from stagecoach.kinds import claims, contracts, small_jobs
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.invalid import unreadable
from stagecoach.kinds.plan import Event, Key, Object, Plan, key_of
from stagecoach.kinds.transformerproject import findings, retention, status
from stagecoach.kinds.transformerproject.observe import Observed, observe
from stagecoach.kinds.view import View
from stagecoach.kinds.waiting import waits
from stagecoach.policies.attempts import (
    STARTING,
    TABLE,
    AttemptOutcome,
    Ended,
    Observation,
    Running,
    judge,
    other_version,
    retry_at,
)
from stagecoach.policies.pods import SETTLING

PATIENCE = 30.0
RESOLVE_SECONDS = 6 * 3600
# Where the advice for runs does not fit.
ADVICE = {
    AttemptOutcome.OUT_OF_MEMORY: f"The pod has {jobs.SMALL.memory} of memory: split the largest data set.",
    AttemptOutcome.DEADLINE_EXCEEDED: f"It may take {RESOLVE_SECONDS // 3600} hours: use less data or faster storage.",
}
MENDED = "It starts by itself once the cluster lets it; a change of spec.pods is tried at once."
RESOLVING = "Resolving"
BEING_RESOLVED = "Data sets and candidates are being hashed and checked."
AGAIN = (
    "A change of the spec starts another reading; after a change of anything else, such as a file: kubectl annotate txp"
    ' {name} -n {namespace} stagecoach.dev/requested-at="$(date)" --overwrite'
)


def reconcile(view: View, raw: Object, now: datetime, settings: Settings) -> Plan:
    """Observe and decide."""
    try:
        observed = observe(view, raw, now)
    except ValidationError as error:
        return unreadable(raw, error, now)
    plan = retention.beside(observed, decide(observed, now, settings), now, settings)
    return plan.within(SETTLING.total_seconds()) if observed.ending else plan


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Return what to do now."""
    project = observed.project
    if project.metadata.deletion_timestamp:
        return Plan()  # the Jobs are owned by the project and go with it
    document = resolve_job(project)
    resolution = project.status.resolution
    if resolution is None or not _current(project, resolution, document):
        return _resolve(observed, document, now, settings, failures=0)
    if resolution.completion_time is None:
        return _follow(observed, resolution, document, now, settings)
    if resolution.outcome == AttemptOutcome.SUCCEEDED:
        return _settled(observed, resolution, now)
    if TABLE[AttemptOutcome(resolution.outcome or "")].retried:
        due = retry_at(datetime.fromisoformat(resolution.completion_time), resolution.failures)
        if now < due:
            told = status.resolving(project, *status.said(project), now)
            return Plan(status=told, delete=_left_over(observed), requeue_after=(due - now).total_seconds())
        return _resolve(observed, document, now, settings, failures=resolution.failures)
    return Plan(status=status.incomplete(project, *status.said(project), now), delete=_left_over(observed))


def resolve_job(project: TransformerProject) -> ResolveJob:
    """Return what the Job is told; its digest says whether a resolution is still about this spec."""
    spec = project.spec
    prompt = contracts.prompt(spec, spec.inference.prompt.name, spec.inference.prompt.version)
    if prompt is None:
        raise AssertionError("the schema refuses an inference.prompt that is not among prompts")
    return ResolveJob(
        subject=contracts.subject(project),
        architecture=contracts.architecture(spec),
        datasets=tuple(contracts.data_source(item, spec.problem.task, item.digest) for item in spec.data.sets),
        labels=contracts.labels(spec),
        # A licence changes nothing that has to be hashed again.
        candidates=tuple(contracts.model_source(item.model_copy(update={"license": None})) for item in spec.candidates),
        selected=contracts.selected_name(spec),
        prompt=prompt,
        tokenization=contracts.tokenization(spec),
    )


def _current(project: TransformerProject, resolution: Resolution, document: ResolveJob) -> bool:
    """Whether the resolution is of the spec as it is now, and no newer one was asked for."""
    if resolution.inputs != _identity(project, document) or resolution.requested_at != project.requested_at:
        return False
    if resolution.outcome not in (None, *AttemptOutcome):
        return False  # a word of a later version: another resolution tells it in ours
    # What has succeeded needs no other pod; what has not may need just that.
    return resolution.outcome == AttemptOutcome.SUCCEEDED or resolution.pods == _pods_identity(project)


def _identity(project: TransformerProject, document: ResolveJob) -> str:
    # Another storage may hold other records.
    return digest_of_document({"job": document.document(), "storage": project.spec.storage.uri})


def _pods_identity(project: TransformerProject) -> str:
    pods = project.spec.pods.document()
    given = [item.document() for item in project.spec.credentials]
    return digest_of_document({"pods": pods, "credentials": given} if given else pods)


def _resolve(observed: Observed, document: ResolveJob, now: datetime, settings: Settings, failures: int) -> Plan:
    """Decide the next Job; it is made when the decision is seen in the status."""
    project = observed.project
    before = project.status.resolution
    number = before.number + 1 if before else 1
    identity = _identity(project, document)
    # Other inputs may lie in another storage: what was known of the old one is worth nothing.
    known = project.status.storage if before and before.inputs == identity else None
    resolution = Resolution(
        inputs=identity,
        requested_at=project.requested_at,
        pods=_pods_identity(project),
        number=number,
        failures=failures,
        job=jobs.job_name(project, f"r{number}"),
        image=settings.trainer_image,
        start_time=timestamp(now),
    )
    told = status.resolving(project, RESOLVING, BEING_RESOLVED, now, resolution=resolution, storage=known)
    return Plan(status=told, delete=_left_over(observed))


def _follow(
    observed: Observed, resolution: Resolution, document: ResolveJob, now: datetime, settings: Settings
) -> Plan:
    """See how the Job is getting on."""
    project = observed.project
    child = observed.current
    seen = judge(Observation(child.job, child.pod, child.warning, started=False, now=now))
    if isinstance(seen, Ended):
        return _ended(observed, resolution, seen, now)
    if isinstance(seen, Running) or seen.reason == STARTING:
        told = status.resolving(project, RESOLVING, BEING_RESOLVED, now)
    else:
        where = claims.named_by(seen.claim, claims.places(project.spec))
        told = status.resolving(project, seen.reason, " ".join(filter(None, (seen.message, where, MENDED))), now)
    if child.job is not None:
        return Plan(status=told, delete=_left_over(observed), requeue_after=PATIENCE)
    try:
        job = jobs.job(project, _work(project, resolution, document, settings))
    except jobs.TooLarge as error:
        closed = status.closed(resolution, AttemptOutcome.BAD_INPUT, str(error), resolution.failures, now)
        told = status.incomplete(project, "SpecTooLarge", str(error), now, resolution=closed)
        return Plan(status=told, events=(Event("SpecTooLarge", str(error), warning=True),))
    return Plan(status=told, create=(job,), delete=_left_over(observed))


def _work(project: TransformerProject, resolution: Resolution, document: ResolveJob, settings: Settings) -> jobs.Work:
    return small_jobs.work(
        project,
        settings,
        name=resolution.job,
        document=document,
        image=resolution.image,
        seconds=RESOLVE_SECONDS,
        sources=(*(item.uri for item in document.datasets), *(item.uri for item in document.candidates)),
    )


def _ended(observed: Observed, resolution: Resolution, end: Ended, now: datetime) -> Plan:
    project = observed.project
    found = end.report.resolution if end.report else None
    if end.outcome is AttemptOutcome.SUCCEEDED and found is not None:
        reported = [ReportedFinding(code=item.code, message=item.message) for item in found.findings]
        closed = status.closed(resolution, end.outcome, "", 0, now).model_copy(update={"findings": reported})
        changes = status.facts_of(found) | {"resolution": closed}
        records = found.has_records or observed.has_succeeded_run
        told = findings.statuses(project.spec, reported)
        event = Event("Resolved", f"{len(found.datasets)} data sets and {len(found.candidates)} candidates resolved.")
        return Plan(status=status.resolved(project, told, records, now, **changes), events=(event,))
    if end.outcome is AttemptOutcome.SUCCEEDED:
        message = f"The trainer reported success and no resolution. {other_version(resolution.image)}"
        end = Ended(AttemptOutcome.PROGRAM_FAILED, message)
    advice = ADVICE | {AttemptOutcome.REPORT_UNKNOWN: other_version(resolution.image)}
    reason, words = end.reason or str(end.outcome), end.words(advice)
    event = Event(reason, words, warning=True)
    if end.retried:
        closed = status.closed(resolution, end.outcome, words, resolution.failures + 1, now)
        message = f"{words} It is tried again."
        return Plan(status=status.resolving(project, reason, message, now, resolution=closed), events=(event,))
    again = AGAIN.format(name=project.metadata.name, namespace=project.metadata.namespace)
    closed = status.closed(resolution, end.outcome, words, resolution.failures, now)
    message = f"{words} {again}"
    return Plan(status=status.incomplete(project, reason, message, now, resolution=closed), events=(event,))


def _settled(observed: Observed, resolution: Resolution, now: datetime) -> Plan:
    """Nothing has to be hashed again; findings, their acceptance and the storage's records may have changed."""
    project = observed.project
    told = findings.statuses(project.spec, resolution.findings)
    return Plan(status=status.resolved(project, told, observed.has_succeeded_run, now), delete=_left_over(observed))


def _left_over(observed: Observed) -> tuple[Object, ...]:
    """Return unfinished Jobs of earlier resolutions.

    A later one than the status knows is not ours to judge, nor is one that a person copied, labels and all.
    """
    project = observed.project
    resolution = project.status.resolution
    if resolution is None:
        return ()
    past = resolution.number + (resolution.completion_time is not None)
    numbers = ((jobs.number_of(project, "r", job["metadata"]["name"]), job) for job in observed.unfinished)
    return tuple(job for number, job in numbers if number in range(1, past))


def _references(_raw: Object) -> tuple[Key, ...]:
    return ()


def _wakes(key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return runs, gates and Evaluations that may wait for the project, when it is another to them than before."""
    if _as_others_read_it(before) == _as_others_read_it(after):
        return ()
    return tuple(key_of(item) for item in view.referrers(key) if waits(item))


def _as_others_read_it(raw: Object | None) -> Object | None:
    if raw is None:
        return None
    metadata = {name: raw["metadata"].get(name) for name in ("uid", "generation", "annotations")}
    status = {name: value for name, value in raw.get("status", {}).items() if name != "retention"}
    return {"metadata": metadata, "spec": raw["spec"], "status": status}


CONTROLLER = Controller(
    kind="TransformerProject", plural="transformerprojects", references=_references, wakes=_wakes, reconcile=reconcile
)
