"""The load test of a candidate, before its first request: on a spare pod of its engine, which answers nobody else.

Its own engine is made when it has passed, so that no more pods than the test's are needed until then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from stagecoach.api.common import ConditionStatus, duration
from stagecoach.api.deployment_status import Candidate, Served
from stagecoach.api.sla import MAX_MEASURED, LoadTest, Measured, Sla
from stagecoach.build import jobs
from stagecoach.build.load_tests import load_test
from stagecoach.contract.digests import Digest, digest_of_document
from stagecoach.contract.load_tests import LoadTestJob, LoadTestReport
from stagecoach.contract.reports import Outcome
from stagecoach.contract.times import moment, timestamp
from stagecoach.kinds.children import begun, taken_back
from stagecoach.kinds.conditions import of
from stagecoach.kinds.modeldeployment import engines
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.modeldeployment.routes import model_name
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.kinds.plan import Object
from stagecoach.policies import load_tests
from stagecoach.policies.attempts import (
    STARTING,
    AttemptOutcome,
    Ended,
    Observation,
    Running,
    Waiting,
    judge,
    other_version,
    retry_at,
)
from stagecoach.policies.fitting import untestable

LETTER = "s"
RETRIES, MAX_INTERRUPTIONS = 2, 10
# Beside the time in which requests come: for prompts to be made, and for the last answers.
LOAD_MARGIN = timedelta(minutes=5)
# So long no pod may answer before what serves goes to another engine untested. From no pods at all, an engine has as
# long as one may take to start.
LOST_FOR = timedelta(seconds=60)
MOST = 1024
NOT_MET, NOT_MEASURED = "SLANotMet", "SLANotMeasured"
AGAIN = "Give spec.engine.resources more, or change spec.sla: a change of either, or a Promote, has it tested again."
ASKER_ADVICE = (
    "It was what asks the engine, which has 2 GiB: lower spec.sla.load.duration, requestsPerSecond, promptTokens or"
    " outputTokens."
)
# Where the advice for runs does not fit.
ADVICE = {
    AttemptOutcome.OUT_OF_MEMORY: "Raise spec.engine.resources.memory.",
    AttemptOutcome.DEADLINE_EXCEEDED: "Raise spec.engine.startDeadline, or give spec.engine.resources more.",
    AttemptOutcome.BAD_IMAGE: "Whoever installed the operator sets the image right in the chart.",
    AttemptOutcome.REPORT_UNKNOWN: other_version(),
    AttemptOutcome.NODE_DISK_FULL: "Let the project's pods.nodeSelector choose nodes with more room.",
}


@dataclass(frozen=True)
class Tested:
    """How far the test of a candidate is."""

    candidate: Candidate
    number: int  # of the newest Job
    measured: Sequence[Measured]
    waits: Complaint | None = None
    failed: Complaint | None = None
    words: str = ""  # what has just been found to be met


def asked(sla: Sla) -> Digest:
    """Return what tells an SLA from others; a later operator, which knows more fields, says the same."""
    return digest_of_document(sla.beside_defaults())


def found(measured: Iterable[Measured], served: Served) -> Measured | None:
    """Return what was last measured of a release on its engine, by whatever was asked then."""
    return next((each for each in measured if _is_of(each, served)), None)


def is_by_now(scene: Scene, measured: Measured) -> bool:
    """Whether it was measured by what is asked now."""
    sla = scene.deployment.spec.sla
    return sla is not None and measured.asked == asked(sla)


def missing(scene: Scene, candidate: Candidate) -> bool:
    """Whether a candidate has to be tested on its engine before it has a request.

    Not while a test would keep clients without any answer: it comes back for what was revoked, or moves from an engine
    that has not answered for a while.
    """
    known = found(scene.deployment.status.sla, candidate)
    met = known is not None and known.met and is_by_now(scene, known)
    rescues = scene.comes_back(candidate) or (scene.moves(candidate) and is_lost(scene))
    return scene.deployment.spec.sla is not None and not met and not rescues


def go_on(scene: Scene, candidate: Candidate) -> Tested:
    """Return what comes next."""
    status, sla, test = scene.deployment.status, scene.deployment.spec.sla, candidate.load_test
    if sla is None or not missing(scene, candidate):
        return Tested(_without_test(scene, candidate), status.load_tests, status.sla)
    if scene.recipe(candidate) is None:
        return _waits(scene, candidate, "LoadTest", "What its engine is made of is being written down. Nothing to do.")
    if in_vain := _reads(scene, candidate) or _too_long(scene, candidate, sla):
        return Tested(candidate, status.load_tests, status.sla, failed=in_vain)
    if test is None or test.asked != asked(sla):
        return _decided(scene, candidate, sla)
    if test.end is None:
        return _followed(scene, candidate, sla, test)
    if scene.now >= retry_at(moment(test.end), test.failures):
        return _decided(scene, candidate, sla, failures=test.failures, interruptions=test.interruptions)
    return _repeated(scene, candidate, test)


def created(scene: Scene) -> tuple[Object, ...]:
    """Return the Job of the test that stands in the observed status, if it is to be made."""
    candidate, sla = scene.deployment.status.candidate, scene.deployment.spec.sla
    test = candidate.load_test if candidate else None
    if candidate is None or sla is None or test is None or test.end or test.start or test.asked != asked(sla):
        return ()
    child, recipe = scene.observed.load_test, scene.recipe(candidate)
    told = _told(scene, candidate, sla, test)
    if child.job is not None or child.pod is not None or recipe is None or told is None:
        return ()
    return (load_test(scene.deployment, recipe, test.job, told, scene.settings),)


def still_wanted(created: Iterable[Object], candidate: Candidate | None) -> tuple[Object, ...]:
    """Return what is created, without the Job of a test that has just been given up."""
    test = candidate.load_test if candidate else None
    job = test.job if test and test.end is None else None
    return tuple(each for each in created if each["kind"] != "Job" or each["metadata"]["name"] == job)


def left_over(scene: Scene) -> tuple[Object, ...]:
    """Return unfinished Jobs of tests that nobody waits for, and none that a person copied from them."""
    status = scene.deployment.status
    test = status.candidate.load_test if status.candidate else None
    past = test.number if test and test.end is None else status.load_tests + 1
    unfinished = scene.observed.unfinished
    numbers = ((jobs.number_of(scene.deployment, LETTER, job["metadata"]["name"]), job) for job in unfinished)
    return tuple(job for number, job in numbers if number in range(1, past))


def told(measured: Measured) -> str:
    """Return numbers in words."""
    times = f"p50 {measured.p50}, p99 {measured.p99}, firstToken {measured.first_token}"
    return f"{times}, errorRate {measured.error_rate:g}, at {measured.requests_per_second:g} requests per second"


def is_lost(scene: Scene) -> bool:
    """Whether no pod answers with what is served: for a while, as the status has it, and none now.

    Not where nobody wants one to, nor as long as pods have not been asked since the operator was started.
    """
    loaded, serving = of(scene.deployment.status.conditions, "Loaded"), scene.deployment.status.serving
    if loaded is None or loaded.status is not ConditionStatus.FALSE or loaded.reason == engines.SCALED_TO_ZERO:
        return False
    answering = scene.answering(serving)
    starts = loaded.reason == engines.COLD_START
    patience = duration(scene.deployment.spec.engine.start_deadline) if starts else LOST_FOR
    lasts = scene.now - moment(loaded.last_transition_time) >= patience
    return lasts and scene.document(serving) is not None and answering.pods == 0 and not answering.unheard


def _without_test(scene: Scene, candidate: Candidate) -> Candidate:
    """Return a candidate that goes on untested: with how often its test has failed, if it may be tested again."""
    test = candidate.load_test
    if test is None or not (scene.moves(candidate) and is_lost(scene)):
        return candidate.model_copy(update={"load_test": None})
    why = "it was given up while what serves did not answer."
    over = {"end": test.end or timestamp(scene.now), "message": test.message or why}
    return candidate.model_copy(update={"load_test": test.model_copy(update=over)})


def _is_of(measured: Measured, served: Served) -> bool:
    return (measured.release, measured.engine) == (served.release, served.engine)


def _reads(scene: Scene, candidate: Candidate) -> Complaint | None:
    """Return why an engine writes no answers, if it does not: it was admitted before there was an SLA."""
    admitted = scene.document(candidate)
    unfit = untestable(scene.deployment.spec, admitted) if admitted else None
    return Complaint(NOT_MEASURED, f"It was not tested: {unfit.message}") if unfit else None


def _too_long(scene: Scene, candidate: Candidate, sla: Sla) -> Complaint | None:
    """Return why an engine would refuse each of the requests, if it would."""
    recipe, load = scene.recipe(candidate), sla.load
    if recipe is None or load.prompt_tokens + load.output_tokens <= recipe.serve.max_length:
        return None
    message = (
        f"spec.sla.load has {load.prompt_tokens} promptTokens and {load.output_tokens} outputTokens, and the engine"
    )
    advice = "Lower them, or raise spec.engine.maxLength."
    return Complaint(NOT_MET, f"{message} takes {recipe.serve.max_length} tokens together. {advice}")


def _decided(scene: Scene, candidate: Candidate, sla: Sla, *, failures: int = 0, interruptions: int = 0) -> Tested:
    """Decide a test; the Job is made when that is seen in the status."""
    number = scene.deployment.status.load_tests + 1
    test = LoadTest(
        number=number,
        job=jobs.job_name(scene.deployment, f"{LETTER}{number}"),
        asked=asked(sla),
        decided=timestamp(scene.now),
        failures=failures,
        interruptions=interruptions,
    )
    waits = Complaint("LoadTest", f"Job {test.job} is being made: it tests what spec.sla asks. Nothing to do.")
    return Tested(candidate.model_copy(update={"load_test": test}), number, scene.deployment.status.sla, waits)


def _followed(scene: Scene, candidate: Candidate, sla: Sla, test: LoadTest) -> Tested:
    """See how the Job is getting on."""
    child = scene.observed.load_test
    seen = judge(Observation(child.job, child.pod, child.warning, started=test.start is not None, now=scene.now))
    if isinstance(seen, Ended):
        return _ended(scene, candidate, sla, test, seen)
    if isinstance(seen, Running):
        begins = test.start or begun(test.decided, seen.pod.started, scene.now)
        words = seen.leaving or f"Job {test.job} tests what spec.sla asks, on a pod of its own."
        running = candidate.model_copy(update={"load_test": test.model_copy(update={"start": begins})})
        return _waits(scene, running, "LoadTest", f"{words} Nothing to do.")
    if taken_back(child, seen, started=test.start is not None):
        update = {"start": None, "interruptions": test.interruptions + 1}
        test = test.model_copy(update=update)
        candidate = candidate.model_copy(update={"load_test": test})
        if test.interruptions > MAX_INTERRUPTIONS:
            return _given_up(
                scene, candidate, "it was interrupted too often. Give the project's pods a priority class."
            )
    return _not_started(scene, candidate, test, seen)


def _not_started(scene: Scene, candidate: Candidate, test: LoadTest, seen: Waiting) -> Tested:
    """Wait for the pod to start, as long as an engine may take."""
    job, deadline = scene.observed.load_test.job, scene.deployment.spec.engine.start_deadline
    since = max(moment(test.decided), moment(job.since)) if job and job.since else scene.now
    if scene.now - since >= duration(deadline):
        return _given_up(scene, candidate, f"its pod did not start in {deadline}: {seen.message}")
    if seen.reason == STARTING:
        return _waits(scene, candidate, "LoadTest", f"The pod of the load test starts: {seen.message} Nothing to do.")
    return _waits(scene, candidate, seen.reason, f"The pod of the load test does not start: {seen.message}")


def _ended(scene: Scene, candidate: Candidate, sla: Sla, test: LoadTest, end: Ended) -> Tested:
    """Judge the numbers; or test once more, where that may come to some."""
    if end.outcome is AttemptOutcome.SUCCEEDED:
        return _judged(scene, candidate, sla, test, end.report.load_test if end.report else None)
    words = f"{f'{end.reason}: ' if end.reason else ''}{end.words(ADVICE | _of_the_asker(scene, end))}"
    failures = test.failures + end.counted
    interruptions = test.interruptions + (end.retried and not end.counted)
    if not end.retried or failures > RETRIES or interruptions > MAX_INTERRUPTIONS:
        return _given_up(scene, candidate, words)
    update = {
        "end": timestamp(scene.now),
        "failures": failures,
        "interruptions": interruptions,
        "message": words[:MOST],
    }
    over = test.model_copy(update=update)
    return _repeated(scene, candidate.model_copy(update={"load_test": over}), over)


def _of_the_asker(scene: Scene, end: Ended) -> dict[AttemptOutcome, str]:
    """Return what to do when not the engine had too little memory, but what asks it."""
    pod = scene.observed.load_test.pod
    told = end.report is not None and end.report.outcome is Outcome.OUT_OF_MEMORY
    if not told and (pod is None or pod.end_reason != "OOMKilled"):
        return {}
    return {AttemptOutcome.OUT_OF_MEMORY: ASKER_ADVICE}


def _repeated(scene: Scene, candidate: Candidate, test: LoadTest) -> Tested:
    why = f"The load test is repeated: {test.message or 'it ended without numbers.'} Nothing to do."
    return _waits(scene, candidate, "LoadTestRepeated", why)


def _judged(scene: Scene, candidate: Candidate, sla: Sla, test: LoadTest, report: LoadTestReport | None) -> Tested:
    wanted = _told(scene, candidate, sla, test)
    if wanted is None:
        return _waits(scene, candidate, "LoadTest", "What was admitted is looked for. Nothing to do.")
    if report is None:
        return _given_up(scene, candidate, f"Job {test.job} told no numbers. {other_version()}")
    if doubt := load_tests.doubt(sla, report, wanted.identity):
        return _given_up(scene, candidate, f"the report of Job {test.job} is not believed: {doubt}. {_killed(scene)}")
    short = list(load_tests.shortfalls(sla, report))
    result = _measured(scene, candidate, test, report, met=not short)
    measured = _kept(scene, result)
    done, number = candidate.model_copy(update={"load_test": None}), scene.deployment.status.load_tests
    if not short:
        return Tested(done, number, measured, words=f"It meets spec.sla: {told(result)}.")
    message = f"In the load test {'; '.join(short)}. All of it: {told(result)}. {_killed(scene)}{AGAIN}"
    return Tested(done, number, measured, failed=Complaint(NOT_MET, message))


def _killed(scene: Scene) -> str:
    """Return why an engine did not answer all the time, if it had too little memory: it was started again."""
    pod = scene.observed.load_test.pod
    killed = pod is not None and pod.engine_killed
    return f"The engine was killed at its memory limit. {ADVICE[AttemptOutcome.OUT_OF_MEMORY]} " if killed else ""


def _measured(scene: Scene, candidate: Candidate, test: LoadTest, report: LoadTestReport, *, met: bool) -> Measured:
    return Measured(
        release=candidate.release,
        run=candidate.run,
        base=candidate.base,
        engine=candidate.engine,
        asked=test.asked,
        met=met,
        p50=load_tests.shown(report.p50),
        p99=load_tests.shown(report.p99),
        first_token=load_tests.shown(report.first_token),
        error_rate=round(load_tests.error_rate(report), 6),
        requests_per_second=round(load_tests.rate(report), 2),
        requests=load_tests.requests(report),
        at=timestamp(scene.now),
    )


def _kept(scene: Scene, new: Measured) -> list[Measured]:
    """Return the list with one more; of as many as fit the oldest goes, but for that of what is served."""
    status = scene.deployment.status
    others = [each for each in status.sla if (each.release, each.engine) != (new.release, new.engine)]
    may_go = [each for each in others if status.serving is None or not _is_of(each, status.serving)]
    return [new, *(each for each in others if len(others) < MAX_MEASURED or each is not may_go[-1])]


def _told(scene: Scene, candidate: Candidate, sla: Sla, test: LoadTest) -> LoadTestJob | None:
    """Return what the Job is told; None while nobody knows what was admitted."""
    admitted = scene.document(candidate)
    if admitted is None:
        return None
    load, start = sla.load, duration(scene.deployment.spec.engine.start_deadline)
    tested = {"release": candidate.release, "engine": candidate.engine, "asked": test.asked, "job": test.job}
    return LoadTestJob(
        identity=digest_of_document(tested),
        model=model_name(admitted),
        wanted=engines.wanted([admitted]),
        requests=load.requests,
        requests_per_second=load.requests_per_second,
        prompt_tokens=load.prompt_tokens,
        output_tokens=load.output_tokens,
        start_seconds=round(start.total_seconds()),
        load_seconds=round((2 * duration(load.duration) + LOAD_MARGIN).total_seconds()),
    )


def _waits(scene: Scene, candidate: Candidate, reason: str, message: str) -> Tested:
    status = scene.deployment.status
    return Tested(candidate, status.load_tests, status.sla, waits=Complaint(reason, message))


def _given_up(scene: Scene, candidate: Candidate, why: str) -> Tested:
    """Return what fails closed: without numbers nothing is met."""
    status = scene.deployment.status
    message = f"The load test came to no numbers: {why.rstrip('. ')}. {AGAIN}"
    return Tested(candidate, status.load_tests, status.sla, failed=Complaint(NOT_MEASURED, message))
