"""What a FineTuneRun needs next. Pure: everything that counts is in the run's status, its Job and its pod."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from stagecoach.api.common import duration
from stagecoach.api.finetunerun import PROGRESS_DEADLINE, FineTuneRun
from stagecoach.api.methods import MethodType
from stagecoach.api.run_status import Attempt, Inputs, Intent, Phase
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs, services
from stagecoach.contract.jobs import ImportJob, LookupJob, TrainJob
from stagecoach.contract.times import timestamp
from stagecoach.kinds import claims, contracts, small_jobs
from stagecoach.kinds.blocked import Blocked, ready_project
from stagecoach.kinds.children import begun, taken_back
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.finetunerun import attempts, imports, nodes, status, suspension, turns, unread
from stagecoach.kinds.finetunerun.inputs import demand, freeze, servable, work_job
from stagecoach.kinds.finetunerun.neighbours import references, wakes
from stagecoach.kinds.finetunerun.observe import Observed, observe
from stagecoach.kinds.finetunerun.rest import rests
from stagecoach.kinds.invalid import unreadable
from stagecoach.kinds.plan import Event, Object, Plan
from stagecoach.kinds.view import View
from stagecoach.policies.attempts import (
    LEAVING_PATIENCE,
    MAX_IDLE_INTERRUPTIONS,
    STARTING,
    WAITING_FOR_QUEUE,
    AttemptOutcome,
    Ended,
    Observation,
    Running,
    Waiting,
    judge,
    other_version,
)
from stagecoach.policies.pods import SETTLING

# At most one write of progress in this time.
PROGRESS_INTERVAL = timedelta(seconds=30)
# How often a pod that does not start is looked at, for what only time tells.
PATIENCE = 30.0
LOOKUP_SECONDS = 1800
RETRYING = "Retrying"
# What a run asks for is for its training: it decides nothing about a lookup.
LOOKUP_ADVICE = {
    AttemptOutcome.OUT_OF_MEMORY: "Create a run with force: true, which trains without a lookup: that has"
    f" {jobs.SMALL.memory} of memory, whatever the run asks for.",
    AttemptOutcome.DEADLINE_EXCEEDED: f"A lookup may take {LOOKUP_SECONDS // 60} minutes: see to the storage, or create"
    " a run with force: true, which trains without one.",
}
# Of pods that never ran nothing is lost, and a run that has checkpoints is not given up for them.
NEVER_RAN = (
    "The pods of the last {number} attempts were taken away before they ran. See to the nodes that the project's pods"
    " may use, or let its pods.nodeSelector choose others: the next attempt has what the project says then."
)
# What a Job was made with stays, and a change of the project's pod settings is no change of the run.
MADE_ANEW = (
    "It starts by itself once the cluster lets it. After a change of the project's pods: kubectl delete job {job} -n"
    " {namespace}; the operator makes it anew with what the project says then, and counts no retry."
)
ASKS_FOR_LESS = "Or create a run that asks for less in spec.resources."
# Storage and spec are fixed, and another run of the same inputs would wait for this one.
CLAIM_CORRECTED = "It starts by itself once the claim is there; with another URI, delete this run and create it again."


def reconcile(view: View, raw: Object, now: datetime, settings: Settings) -> Plan:
    """Observe and decide."""
    try:
        observed = observe(view, raw, now)
    except ValidationError as error:
        return unreadable(raw, error, now)
    plan = decide(observed, now, settings)
    return plan.within(SETTLING.total_seconds()) if observed.ending else plan


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Return what to do now."""
    run = observed.run
    if run.metadata.deletion_timestamp:
        return Plan()  # the Jobs are owned by the run and go with it
    if run.status.phase in (Phase.SUCCEEDED, Phase.FAILED):
        # What still ends by itself is looked at again: not all of it may.
        again = PATIENCE if observed.stopping else None
        gone = (*attempts.left_over(observed), *observed.services)
        return Plan(status=status.ended(run, now), delete=gone, requeue_after=again)
    observed = suspension.with_last_word(observed, now)
    run = observed.run
    current = run.status.attempts[-1] if run.status.attempts else None
    if run.status.inputs and current and current.end is None:
        return _follow(observed, run.status.inputs, current, now, settings)
    if run.spec.suspend:
        return suspension.idle(observed, now)
    if run.status.inputs is None:
        return _start(observed, now, settings)
    if current is None:
        return turns.first(observed, now)
    return _again(observed, current, now)


def _start(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Fix the inputs and decide the first attempt, both in one status; the Job is made when that is seen."""
    run = observed.run
    try:
        project = ready_project(run, observed.project)
        inputs = freeze(run, project, settings.trainer_image)
    except Blocked as blocked:
        return _blocked(run, blocked, now)
    first, message = turns.first_attempt(observed, now)
    changes = {"inputs": inputs, "attempts": [first], "start_time": timestamp(now)}
    return Plan(
        status=status.fixed(run, servable(run, project, inputs), message, now, **changes),
        events=(Event("InputsFixed", f"Inputs are fixed as {inputs.digest}."),),
    )


def _blocked(run: FineTuneRun, blocked: Blocked, now: datetime) -> Plan:
    if blocked.waits:
        event = Event(blocked.reason, blocked.message)
        return Plan(status=status.blocked(run, blocked.reason, blocked.message, now), events=(event,))
    event = Event(blocked.reason, blocked.message, warning=True)
    return Plan(status=status.failed(run, blocked.reason, blocked.message, now), events=(event,))


def _follow(observed: Observed, inputs: Inputs, current: Attempt, now: datetime, settings: Settings) -> Plan:
    """See how the current attempt is getting on."""
    run = observed.run
    child = observed.current
    seen = judge(Observation(child.job, child.pod, child.warning, started=current.start is not None, now=now))
    if isinstance(seen, Ended) and seen.outcome is not AttemptOutcome.REPORT_UNKNOWN:
        return _ended(observed, inputs, current, seen, now)
    if run.spec.suspend:
        return suspension.stop(observed, current, seen, now)
    if isinstance(seen, Ended):
        return unread.wait(observed, inputs, current, seen, now)
    if isinstance(seen, Running) and current.intent is Intent.LOOKUP:
        told = _starting(run, "A record is being looked for.", now)
        return Plan(status=told, requeue_after=PATIENCE)
    if isinstance(seen, Running):
        return _running(observed, inputs, current, seen, now)
    if child.job is None:
        return _create(observed, inputs, current, seen, now, settings)
    if taken_back(child, seen, started=current.start is not None):
        return _taken_back(observed, inputs, current, seen, now)
    told = _waiting(observed, current, seen, now, **attempts.noted(observed, current))
    return Plan(status=told, delete=attempts.left_over(observed), requeue_after=PATIENCE)


def _taken_back(observed: Observed, inputs: Inputs, current: Attempt, seen: Waiting, now: datetime) -> Plan:
    """The Job of a pod that ran was suspended: an interruption like any other, but that the attempt stays."""
    listed, totals = attempts.waits_again(observed, current, now)
    if totals.idle_interruptions >= MAX_IDLE_INTERRUPTIONS:
        lost = Ended(AttemptOutcome.POD_LOST, f"Job {current.job} was suspended while its pod ran.")
        return _ended(observed, inputs, current, lost, now)
    told = _waiting(observed, current, seen, now, attempts=listed, totals=totals)
    event = Event(WAITING_FOR_QUEUE, attempts.interrupted(current, totals))
    return Plan(status=told, events=(event,), delete=attempts.left_over(observed), requeue_after=PATIENCE)


def _create(
    observed: Observed, inputs: Inputs, current: Attempt, seen: Waiting, now: datetime, settings: Settings
) -> Plan:
    """Make the Job of an attempt that stands in the observed status."""
    run = observed.run
    if turns.open_to_others(observed, current) and (plan := turns.lets_pass(observed, now)):
        return plan
    training = current.intent is Intent.TRAIN
    shared = nodes.claims(run, observed.project) if training else {}
    if plan := nodes.refused(run, shared, observed.claims, now):
        return plan
    try:
        job = _job(observed, inputs, current, now, settings)
    except Blocked as blocked:
        return _blocked(run, blocked, now)
    except jobs.TooLarge as error:
        return _blocked(run, Blocked("SpecTooLarge", str(error), waits=False), now)
    told = _waiting(observed, current, seen, now)
    made = (*nodes.beside(run), job) if training else (job,)
    return Plan(status=told, create=made, delete=attempts.left_over(observed))


def _waiting(observed: Observed, current: Attempt, seen: Waiting, now: datetime, **changes: Any) -> Object | None:
    """Return the status of a pod that does not run yet."""
    run = observed.run
    if seen.reason == STARTING:
        return _starting(run, seen.message, now, **changes)
    if seen.claim:
        words = (seen.message, claims.named_by(seen.claim, _places(observed)), CLAIM_CORRECTED)
        return status.waiting(run, seen.reason, " ".join(filter(None, words)), now, **changes)
    made_anew = MADE_ANEW.format(job=run.status.attempts[-1].job, namespace=run.metadata.namespace)
    # A lookup has its own share, whatever the run asks for.
    unschedulable = seen.reason == "Unschedulable" and current.intent is Intent.TRAIN
    advice = f"{made_anew} {ASKS_FOR_LESS}" if unschedulable else made_anew
    return status.waiting(run, seen.reason, f"{seen.message} {advice}", now, **changes)


def _places(observed: Observed) -> dict[str, str]:
    """Return the fields that say where something lies, of the run and of its project, each with its URI."""
    uri, project = observed.run.spec.method.uri, observed.project
    theirs = claims.places(project.spec) if project else {}
    own = {"spec.method.uri": uri} if uri else {}
    return own | {f"the project's {field}": place for field, place in theirs.items()}


def _starting(run: FineTuneRun, message: str, now: datetime, **changes: Any) -> Object | None:
    """Return the status of what takes seconds; its ordinary steps are not worth a write each."""
    if status.says(run, STARTING) and not changes:
        return None
    return status.waiting(run, STARTING, message, now, **changes)


def _running(observed: Observed, inputs: Inputs, current: Attempt, seen: Running, now: datetime) -> Plan:
    run, progress = observed.run, observed.progress
    # The kubelet ends the first pod of a Job in time. Another pod of the same Job would get all of the time again.
    left = (attempts.remaining(run, now) + LEAVING_PATIENCE).total_seconds()
    if left <= 0:
        late = Ended(AttemptOutcome.DEADLINE_EXCEEDED, "The time of maxDuration is used up.")
        return _ended(observed, inputs, current, late, now)
    last = run.status.progress
    fresh = last is None or now - datetime.fromisoformat(last.at) >= PROGRESS_INTERVAL
    shown = progress.model_copy(update={"at": timestamp(now)}) if progress and fresh else None
    update: dict[str, Any] = {"start": current.start or begun(current.decided, seen.pod.started, now)}
    if seen.leaving or seen.pod.ended:  # it may be gone when it is looked at again
        update["checkpoint"] = attempts.newest_checkpoint(observed)
    listed = [*run.status.attempts[:-1], current.model_copy(update=update)]
    return Plan(
        status=status.running(run, shown, seen.leaving, now, attempts=listed),
        delete=attempts.left_over(observed),
        requeue_after=min(left, PATIENCE) if seen.leaving else left,
    )


def _ended(observed: Observed, inputs: Inputs, current: Attempt, end: Ended, now: datetime) -> Plan:
    """Close the attempt: the run is done, tries again, or gives up."""
    run = observed.run
    words = end.words(_advice(run, current, end))
    listed, totals = attempts.closed(observed, current, end, words, now)
    changes = {"attempts": listed, "totals": totals}
    if end.outcome is AttemptOutcome.SUCCEEDED:
        return _done(observed, inputs, end, now, **changes)
    reason = end.reason or str(end.outcome)
    event = Event(reason, f"Attempt {current.number}: {words}", warning=True)
    if not end.retried:
        return Plan(status=status.failed(run, reason, words, now, **changes), events=(event,))
    if totals.failures > run.spec.retries:
        words = f"{words} All {run.spec.retries} retries are used up: create another run once that is mended."
        return Plan(status=status.failed(run, reason, words, now, **changes), events=(event,))
    if totals.idle_interruptions >= MAX_IDLE_INTERRUPTIONS:
        words = f"{end.message} {attempts.no_progress(totals)}"
        return Plan(status=status.failed(run, "NoProgress", words, now, **changes), events=(event,))
    message = _follows(current.number, reason, words, attempts.due(listed, totals, now))
    return Plan(status=status.waiting(run, RETRYING, message, now, **changes), events=(event,))


def _follows(number: int, reason: str, words: str, due: datetime) -> str:
    return f"Attempt {number} ended with {reason}: {words} Attempt {number + 1} follows at {timestamp(due)}."


def _advice(run: FineTuneRun, current: Attempt, end: Ended) -> dict[AttemptOutcome, str]:
    known = imports.ADVICE if run.spec.method.type is MethodType.IMPORT else {}
    known = LOOKUP_ADVICE if current.intent is Intent.LOOKUP else known
    never_ran = attempts.never_ran(run.status.attempts[:-1]) + 1
    if current.start or end.started or never_ran < MAX_IDLE_INTERRUPTIONS:
        return known
    return known | {AttemptOutcome.POD_LOST: NEVER_RAN.format(number=never_ran)}


def _done(observed: Observed, inputs: Inputs, end: Ended, now: datetime, **changes: Any) -> Plan:
    """The Job did its work: there is an artifact, or a lookup that found none."""
    run, project = observed.run, observed.project
    found = end.report.artifact if end.report else None
    if found is not None:
        event = Event("Succeeded", f"{found.type} {found.digest} {imports.how(found).lower()}.")
        fact = servable(run, project, inputs, found.method) if project and found.method else None
        return Plan(status=status.succeeded(run, inputs, found, now, fact, **changes), events=(event,))
    last = changes["attempts"][-1]
    if last.intent is Intent.LOOKUP:
        train = attempts.decided(run, Intent.TRAIN, last.number + 1, now)
        changes["attempts"] = attempts.listed([*changes["attempts"], train])
        message = "There is no record of these inputs yet; the next attempt is decided."
        return Plan(status=status.waiting(run, STARTING, message, now, **changes))
    message = f"The trainer reported success and no artifact. {other_version(inputs.image)} Then create another run."
    event = Event("ArtifactMissing", message, warning=True)
    return Plan(status=status.failed(run, "ArtifactMissing", message, now, **changes), events=(event,))


def _again(observed: Observed, last: Attempt, now: datetime) -> Plan:
    """Decide the next attempt once its delay is over, and the pod before it had time to save a checkpoint."""
    run = observed.run
    end = datetime.fromisoformat(last.end or timestamp(now))
    # Whoever was suspended has lost its turn, and goes on without a delay. Blocked is who waits for a turn.
    resumed = run.status.phase in (Phase.SUSPENDED, Phase.BLOCKED) or last.outcome == AttemptOutcome.SUSPENDED
    due = end if resumed else attempts.due(run.status.attempts, attempts.totals(run), now)
    if now < due:
        message = _follows(last.number, last.outcome or "", last.message or "", due)
        told = None if status.says(run, RETRYING) else status.waiting(run, RETRYING, message, now)
        return Plan(status=told, delete=attempts.left_over(observed), requeue_after=(due - now).total_seconds())
    if attempts.remaining(run, now) <= timedelta(0):
        message = "The time of maxDuration is used up. Raise maxDuration, or train fewer steps, in a new run."
        event = Event("DeadlineExceeded", message, warning=True)
        return Plan(status=status.failed(run, "DeadlineExceeded", message, now), events=(event,))
    if observed.stopping and now < end + LEAVING_PATIENCE:
        message = f"The pod of attempt {last.number} is given the time to save a checkpoint."
        told = status.waiting(run, "Stopping", message, now)
        return Plan(status=told, delete=attempts.left_over(observed), requeue_after=PATIENCE)
    if resumed and (plan := turns.lets_pass(observed, now)):
        return plan
    nothing_found = last.intent is Intent.LOOKUP and last.outcome == AttemptOutcome.SUCCEEDED
    intent = Intent.TRAIN if nothing_found else last.intent
    following = attempts.decided(run, turns.next_intent(observed, intent) if resumed else intent, last.number + 1, now)
    message = f"Attempt {following.number} is decided, after {last.outcome}: {last.message or 'no record was found.'}"
    if resumed:
        message = _goes_on(run, following)
    listed = attempts.listed([*run.status.attempts, following])
    return Plan(
        status=status.waiting(run, STARTING, message, now, attempts=listed),
        events=(Event("Resumed", message),) if resumed else (),
        delete=attempts.left_over(observed),
    )


def _goes_on(run: FineTuneRun, following: Attempt) -> str:
    """Say where a run begins again that was suspended, or had lost its turn."""
    if following.intent is Intent.LOOKUP:
        return f"Attempt {following.number} looks for a record of the same inputs."
    if run.spec.method.type is MethodType.IMPORT:
        return f"Attempt {following.number} checks and imports."
    # What was saved after the pod was told to stop is newer than what was seen.
    seen = attempts.totals(run).checkpoint
    which = f"of step {seen} or later" if seen is not None else "if there is one"
    return f"Attempt {following.number} goes on from the newest checkpoint, {which}."


def _job(observed: Observed, inputs: Inputs, attempt: Attempt, now: datetime, settings: Settings) -> Object:
    run, project = observed.run, observed.project
    if project is None:
        raise Blocked(
            "ProjectMissing",
            f"spec.project: TransformerProject {run.spec.project!r} is gone or not valid. Bring it back as it was.",
        )
    work = small_jobs.work(
        project,
        settings,
        name=attempt.job,
        document=LookupJob(subject=contracts.subject(run), inputs_digest=inputs.digest),
        image=inputs.image,
        seconds=LOOKUP_SECONDS,
        storage=inputs.storage,
        keep_seconds=int(duration(run.spec.clean_up_after).total_seconds()),
    )
    work = replace(work, project_uid=project.metadata.uid, ended_runs=observed.ended_twins)
    if attempt.intent is Intent.LOOKUP:
        return jobs.job(run, work)
    return jobs.job(run, _makes(work, run, project, work_job(run, project, inputs, attempt.number), now))


def _makes(
    lookup: jobs.Work, run: FineTuneRun, project: TransformerProject, document: TrainJob | ImportJob, now: datetime
) -> jobs.Work:
    """Return the work that makes the artifact: as a lookup, but for what it is told, asks for and may take."""
    imported = isinstance(document, ImportJob)
    return replace(
        lookup,
        document=document,
        sources=_sources(document),
        demand=demand(run),
        seconds=max(1, int(attempts.remaining(run, now).total_seconds())),
        reports_progress=not imported,
        progress_deadline=int(duration(run.spec.progress_deadline or PROGRESS_DEADLINE).total_seconds()),
        tracking=None if imported else contracts.tracking(project.spec),
        nodes=run.spec.resources.nodes,
        service=services.service_name(run) if run.spec.resources.nodes > 1 else "",
    )


def _sources(document: TrainJob | ImportJob) -> tuple[str, ...]:
    """Return the URIs that the pod reads."""
    labels = (document.labels_from.uri,) if document.labels_from else ()
    if isinstance(document, ImportJob):
        return (document.base.uri, document.source.uri, *labels)
    return (document.base.uri, *(source.uri for source in (*document.train, *document.validation)), *labels)


CONTROLLER = Controller(
    kind="FineTuneRun",
    plural="finetuneruns",
    references=references,
    wakes=wakes,
    reconcile=reconcile,
    rests=rests,
)
