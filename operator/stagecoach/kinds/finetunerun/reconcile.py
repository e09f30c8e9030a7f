"""What a FineTuneRun needs next. Pure: everything that counts is in the run's status, its Job and its pod."""

from datetime import datetime, timedelta

from pydantic import ValidationError

from stagecoach.api.common import duration
from stagecoach.api.finetunerun import Attempt, FineTuneRun, Inputs, Intent, Phase
from stagecoach.build import jobs
from stagecoach.contract.jobs import LookupJob
from stagecoach.kinds import contracts
from stagecoach.kinds.conditions import timestamp
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.finetunerun import status
from stagecoach.kinds.finetunerun.inputs import Blocked, demand, freeze, ready_project, servable, train_job
from stagecoach.kinds.finetunerun.observe import Observed, inputs_key, observe, project_key
from stagecoach.kinds.invalid import invalid_spec
from stagecoach.kinds.plan import Event, Key, Object, Plan
from stagecoach.kinds.view import View
from stagecoach.policies.attempts import STARTING, AttemptOutcome, Ended, Observation, Running, Waiting, judge, retry_at
from stagecoach.policies.twins import ahead, undecided

# At most one write of progress in this time.
PROGRESS_INTERVAL = timedelta(seconds=30)
# How often a pod that does not start is looked at, for what only time tells.
PATIENCE = 30.0
LOOKUP_SECONDS = 1800
# What a run asks for is for its training: it decides nothing about a lookup.
FORCE = "A new run with force: true trains without it."
LOOKUP_ADVICE = {
    AttemptOutcome.OUT_OF_MEMORY: f"A lookup has {jobs.SMALL.memory} of memory, whatever the run asks for. {FORCE}",
    AttemptOutcome.DEADLINE_EXCEEDED: f"A lookup may take {LOOKUP_SECONDS // 60} minutes: see to the storage. {FORCE}",
}
# What a Job was made with stays, and a change of the project's pod settings is no change of the run.
MADE_ANEW = (
    "It starts by itself once the cluster lets it. After a change of the project's pods: kubectl delete job {job} -n"
    " {namespace}; the operator makes it anew with what the project says then, and counts no retry."
)


def reconcile(view: View, raw: Object, now: datetime, settings: Settings) -> Plan:
    """Observe and decide."""
    try:
        observed = observe(view, raw)
    except ValidationError as error:
        return invalid_spec(raw, error, now)
    return decide(observed, now, settings)


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Return what to do now."""
    run = observed.run
    if run.metadata.deletion_timestamp:
        return Plan()  # the Jobs are owned by the run and go with it
    if run.status.phase in (Phase.SUCCEEDED, Phase.FAILED):
        return Plan(delete=observed.unfinished)
    if run.status.inputs is None:
        return _start(observed, now, settings)
    if not run.status.attempts:
        return _first(observed, now)
    current = run.status.attempts[-1]
    if current.end is None:
        return _follow(observed, run.status.inputs, current, now, settings)
    return _again(observed, now)


def _start(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Fix the inputs and decide the first attempt, both in one status; the Job is made when that is seen."""
    run = observed.run
    try:
        project = ready_project(run, observed.project)
        inputs = freeze(run, project, settings.trainer_image)
    except Blocked as blocked:
        return _blocked(run, blocked, now)
    first, message = _first_attempt(observed, now)
    changes = {"inputs": inputs, "attempts": [first], "start_time": timestamp(now)}
    return Plan(
        status=status.fixed(run, servable(run, project, inputs), message, now, **changes),
        events=(Event("InputsFixed", f"Inputs are fixed as {inputs.digest}."),),
    )


def _first_attempt(observed: Observed, now: datetime) -> tuple[Attempt, str]:
    """Return the first attempt, and it in words: to look for a record where there may be one, else to train."""
    run, storage = observed.run, observed.project.status.storage if observed.project else None
    records = (storage is not None and storage.records) or any(twin.succeeded for twin in observed.twins)
    if records and not run.spec.force:
        return _attempt(run, Intent.LOOKUP, 1, now), "Looks for a record of the same inputs."
    return _attempt(run, Intent.TRAIN, 1, now), "The first attempt is decided."


def _first(observed: Observed, now: datetime) -> Plan:
    """Decide the first attempt once no other run of the same inputs is before this one."""
    if plan := _lets_pass(observed, now):
        return plan
    first, message = _first_attempt(observed, now)
    return Plan(status=status.waiting(observed.run, STARTING, message, now, attempts=[first]))


def _lets_pass(observed: Observed, now: datetime) -> Plan | None:
    """Wait for another run of the same inputs; what this one decided and has no Job for is taken back."""
    run = observed.run
    if run.spec.force:
        return None
    twin = ahead((run.metadata.creation_timestamp, run.metadata.uid), observed.twins)
    if twin is None:
        return Plan(requeue_after=1.0) if undecided(observed.twins, now) else None
    message = (
        f"Waits for FineTuneRun {twin.name!r}, which has the same inputs, to adopt what it makes. To train them a"
        " second time all the same, create a run with force: true."
    )
    told = status.blocked(run, "SameInputs", message, now, attempts=[])
    return Plan(status=told, events=(Event("SameInputs", message),))


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
    if isinstance(seen, Ended):
        return _ended(observed, inputs, current, seen, now)
    if isinstance(seen, Running):
        # A lookup takes seconds: only its end is worth a write.
        return Plan() if current.intent is Intent.LOOKUP else _running(observed, current, seen, now)
    if child.job is None:
        return _create(observed, inputs, current, seen, now, settings)
    return Plan(status=_waiting(run, seen, now), delete=_left_over(observed), requeue_after=PATIENCE)


def _create(
    observed: Observed, inputs: Inputs, current: Attempt, seen: Waiting, now: datetime, settings: Settings
) -> Plan:
    """Make the Job of an attempt that stands in the observed status."""
    run = observed.run
    if current.number == 1 and current.start is None and (plan := _lets_pass(observed, now)):
        return plan
    try:
        job = _job(observed, inputs, current, now, settings)
    except Blocked as blocked:
        return _blocked(run, blocked, now)
    except jobs.TooLarge as error:
        return _blocked(run, Blocked("SpecTooLarge", str(error), waits=False), now)
    return Plan(status=_waiting(run, seen, now), create=(job,), delete=_left_over(observed))


def _waiting(run: FineTuneRun, seen: Waiting, now: datetime) -> Object | None:
    """Return the status of a pod that does not run yet; the ordinary steps of a start are not worth a write each."""
    told = next((condition.reason for condition in run.status.conditions if condition.type == "Ready"), "")
    if told == seen.reason == STARTING:
        return None
    if seen.reason == STARTING:
        return status.waiting(run, seen.reason, seen.message, now)
    made_anew = MADE_ANEW.format(job=run.status.attempts[-1].job, namespace=run.metadata.namespace)
    return status.waiting(run, seen.reason, f"{seen.message} {made_anew}", now)


def _running(observed: Observed, current: Attempt, seen: Running, now: datetime) -> Plan:
    run, progress = observed.run, observed.progress
    last = run.status.progress
    fresh = last is None or now - datetime.fromisoformat(last.at) >= PROGRESS_INTERVAL
    shown = progress.model_copy(update={"at": timestamp(now)}) if progress and fresh else None
    started = current.model_copy(update={"start": current.start or seen.pod.started or timestamp(now)})
    attempts = [*run.status.attempts[:-1], started]
    return Plan(status=status.running(run, shown, now, attempts=attempts), delete=_left_over(observed))


def _ended(observed: Observed, inputs: Inputs, current: Attempt, end: Ended, now: datetime) -> Plan:
    """Close the attempt: the run is done, tries again, or gives up."""
    run = observed.run
    words = end.words(LOOKUP_ADVICE if current.intent is Intent.LOOKUP else None)
    attempts = [*run.status.attempts[:-1], status.ended(current, end, words, now)]
    if end.outcome is AttemptOutcome.SUCCEEDED:
        return _done(run, inputs, attempts, end, now)
    reason = end.reason or str(end.outcome)
    failures = sum(attempt.counted is True for attempt in attempts)
    event = Event(reason, f"Attempt {current.number}: {words}", warning=True)
    if not end.retried or failures > run.spec.retries:
        message = f"{words} All {run.spec.retries} retries are used up." if end.retried else words
        return Plan(status=status.failed(run, reason, message, now, attempts=attempts), events=(event,))
    message = f"Attempt {current.number} ended with {reason}: {words} Attempt {current.number + 1} follows."
    return Plan(status=status.waiting(run, "Retrying", message, now, attempts=attempts), events=(event,))


def _done(run: FineTuneRun, inputs: Inputs, attempts: list[Attempt], end: Ended, now: datetime) -> Plan:
    """The Job did its work: there is an artifact, or a lookup that found none."""
    found = end.report.artifact if end.report else None
    if found is not None:
        event = Event("Succeeded", f"{found.type} {found.digest} {'adopted' if found.adopted else 'trained'}.")
        return Plan(status=status.succeeded(run, inputs, found, attempts, now), events=(event,))
    last = attempts[-1]
    if last.intent is Intent.LOOKUP:
        train = _attempt(run, Intent.TRAIN, last.number + 1, now)
        message = "There is no record of these inputs yet; the training is decided."
        return Plan(status=status.waiting(run, STARTING, message, now, attempts=[*attempts, train]))
    message = "The trainer reported success and no artifact. Its image does not fit this operator's version."
    event = Event("ArtifactMissing", message, warning=True)
    return Plan(status=status.failed(run, "ArtifactMissing", message, now, attempts=attempts), events=(event,))


def _again(observed: Observed, now: datetime) -> Plan:
    """Decide the next attempt once its delay is over."""
    run = observed.run
    last = run.status.attempts[-1]
    failures = sum(attempt.counted is True for attempt in run.status.attempts)
    due = retry_at(datetime.fromisoformat(last.end or timestamp(now)), failures)
    if now < due:
        return Plan(delete=_left_over(observed), requeue_after=(due - now).total_seconds())
    if _remaining(run, now) <= timedelta(0):
        message = "The time of maxDuration is used up. Raise maxDuration, or train fewer steps, in a new run."
        return Plan(status=status.failed(run, "DeadlineExceeded", message, now))
    following = _attempt(run, last.intent, last.number + 1, now)
    message = f"Attempt {following.number} is decided, after {last.outcome}: {last.message}"
    return Plan(
        status=status.waiting(run, STARTING, message, now, attempts=[*run.status.attempts, following]),
        delete=_left_over(observed),
    )


def _attempt(run: FineTuneRun, intent: Intent, number: int, now: datetime) -> Attempt:
    return Attempt(number=number, intent=intent, job=jobs.job_name(run, str(number)), decided=timestamp(now))


def _job(observed: Observed, inputs: Inputs, attempt: Attempt, now: datetime, settings: Settings) -> Object:
    run, project = observed.run, observed.project
    if project is None:
        raise Blocked(
            "ProjectMissing",
            f"spec.project: TransformerProject {run.spec.project!r} is gone or not valid. Bring it back as it was.",
        )
    keep = int(duration(run.spec.clean_up_after).total_seconds())
    if attempt.intent is Intent.LOOKUP:
        work = jobs.Work(
            name=attempt.job,
            document=LookupJob(subject=contracts.subject(run), inputs_digest=inputs.digest),
            image=inputs.image,
            pull_policy=settings.trainer_pull_policy,
            storage=inputs.storage,
            sources=(),
            demand=jobs.SMALL,
            pods=project.spec.pods,
            seconds=LOOKUP_SECONDS,
            keep_seconds=keep,
            credentials=contracts.credentials(project.spec),
        )
        return jobs.job(run, work)
    document = train_job(run, project, inputs, attempt.number)
    work = jobs.Work(
        name=attempt.job,
        document=document,
        image=inputs.image,
        pull_policy=settings.trainer_pull_policy,
        storage=inputs.storage,
        sources=(document.base.uri, *(source.uri for source in (*document.train, *document.validation))),
        demand=demand(run),
        pods=project.spec.pods,
        seconds=max(1, int(_remaining(run, now).total_seconds())),
        keep_seconds=keep,
        credentials=contracts.credentials(project.spec),
        reports_progress=True,
    )
    return jobs.job(run, work)


def _remaining(run: FineTuneRun, now: datetime) -> timedelta:
    """Return what is left of maxDuration after the attempts so far."""
    used = timedelta(0)
    for attempt in run.status.attempts:
        if attempt.start and attempt.intent is Intent.TRAIN:
            end = datetime.fromisoformat(attempt.end) if attempt.end else now
            used += end - datetime.fromisoformat(attempt.start)
    return duration(run.spec.max_duration) - used


def _left_over(observed: Observed) -> tuple[Object, ...]:
    """Return unfinished Jobs of attempts that have ended: an old writer's late work, or a pod that never started."""
    ended = {attempt.job for attempt in observed.run.status.attempts if attempt.end}
    return tuple(job for job in observed.unfinished if job["metadata"]["name"] in ended)


def _references(raw: Object) -> tuple[Key, ...]:
    inputs = inputs_key(raw)
    return (project_key(raw), inputs) if inputs else (project_key(raw),)


def _wakes(raw: Object) -> tuple[Key, ...]:
    # The first record in a storage tells the project that lookups are worth their while from now on.
    return (project_key(raw),) if raw.get("status", {}).get("phase") == Phase.SUCCEEDED.value else ()


CONTROLLER = Controller(
    kind="FineTuneRun", plural="finetuneruns", references=_references, wakes=_wakes, reconcile=reconcile
)
