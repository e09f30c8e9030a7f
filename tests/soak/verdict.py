"""What has to hold whatever happens, judged from what the API server and the storage say; never from the operator's word.

Each check returns sentences: what it found wrong. Its name is the invariant's.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Set
from itertools import pairwise
from typing import Any

from stagecoach.build.labels import OWNER_KIND, OWNER_NAME
from stagecoach.contract.reports import ArtifactReport
from stagecoach.policies.pods import pod_state
from tests.remedies import speaks
from tests.simulation import MARK
from tests.soak import judged, serving
from tests.soak.audit import Write
from tests.soak.evidence import LEASES, STATUS, Evidence, key_of, title_of
from tests.soak.telling import every_bad_end_has_its_event

Object = dict[str, Any]

FINAL = ("Succeeded", "Failed")
KINDS = ("TransformerProject", "FineTuneRun", "EvalGate", "Evaluation")
WITH_ATTEMPTS = ("FineTuneRun", "Evaluation")
# What an API server says to a request that it cannot serve now, that was too late, or about what is gone.
EXPECTED = {404, 409, 429, 500, 503, 504}


def every_run_ends(evidence: Evidence) -> Iterator[str]:
    """NothingStuck: what people made is there, and has ended."""
    there = {key_of(run): run for run in evidence.runs}
    for namespace, name in sorted(evidence.made - there.keys()):
        yield f"run {namespace}/{name} is gone"
    for run in there.values():
        if _phase(run) not in FINAL:
            yield f"run {title_of(run)} is {_phase(run) or 'without a phase'}: {_ready(run).get('message')}"


def every_run_is_in_the_log(evidence: Evidence) -> Iterator[str]:
    """What is judged by the audit log is worth as much as the log is whole."""
    told = {title for title, _ in evidence.statuses()}
    for run in evidence.runs:
        if title_of(run) not in told:
            yield f"the log tells of no status of run {title_of(run)}"


def every_failure_speaks(evidence: Evidence) -> Iterator[str]:
    """EveryFailureSpeaks: what did not go well says what happened and what to do."""
    for each in evidence.evaluations:
        ready = _ready(each)
        reason, message = ready.get("reason", ""), ready.get("message", "")
        if each.get("status", {}).get("verdict") != "Passed" and not speaks(reason, message):
            yield f"Evaluation {title_of(each)} does not say what to do: {reason}: {message}"
    for run in evidence.runs:
        ready = _ready(run)
        reason, message = ready.get("reason", ""), ready.get("message", "")
        if _phase(run) != "Succeeded" and not speaks(reason, message):
            yield f"run {title_of(run)} is {_phase(run)} and does not say what to do: {reason}: {message}"
        for attempt in run.get("status", {}).get("attempts", ()):
            outcome, message = attempt.get("outcome", ""), attempt.get("message", "")
            if outcome not in ("", "Succeeded") and not speaks(outcome, message):
                yield f"run {title_of(run)}: attempt {attempt['number']} does not say what to do: {outcome}: {message}"


def real_runs_succeed(evidence: Evidence) -> Iterator[str]:
    """No fault of these is a reason for a run to fail whose training would go well."""
    for run in evidence.runs:
        if not _is_simulated(run) and _phase(run) == "Failed":
            yield f"run {title_of(run)} failed, {_ready(run).get('reason')}: {_ready(run).get('message')}"


def no_job_twice(evidence: Evidence) -> Iterator[str]:
    """NothingTwice: one attempt is one Job, made once."""
    jobs = Counter((w.namespace, w.name) for w in evidence.accepted if (w.verb, w.resource) == ("create", "jobs"))
    for (namespace, name), count in jobs.items():
        if count > 1:
            yield f"Job {namespace}/{name} was made {count} times"


def same_inputs_once(evidence: Evidence) -> Iterator[str]:
    """NothingTwice: what real runs of equal inputs come to is computed by one pod, and adopted by the others."""
    made: dict[str, list[Object]] = {}
    for run in evidence.runs:
        if not _is_simulated(run) and _phase(run) == "Succeeded":
            made.setdefault(run["status"]["inputs"]["digest"], []).append(run)
    reports = list(_reports(evidence))
    for digest, runs in made.items():
        keys = {key_of(run) for run in runs}
        makers = [pod for key, pod, artifact in reports if key in keys and not artifact.adopted]
        if len(makers) > 1:
            yield f"{digest} was computed by several pods: {', '.join(makers)}"
        if len({run["status"]["artifact"]["digest"] for run in runs}) != 1:
            yield f"{digest} has several artifacts: {', '.join(map(title_of, runs))}"


def _reports(evidence: Evidence) -> Iterator[tuple[tuple[str, str], str, ArtifactReport]]:
    """Yield the run, the name and the artifact of each pod that says that it has one."""
    for pod in evidence.pods:
        report = pod_state(pod).report
        if report is not None and report.artifact is not None:
            metadata = pod["metadata"]
            yield (metadata["namespace"], metadata["labels"].get(OWNER_NAME, "")), metadata["name"], report.artifact


def intent_first(evidence: Evidence) -> Iterator[str]:
    """A Job is in its owner's status before it is made: an operator that dies in between loses nothing."""
    intended: dict[tuple[str, str], str] = {}
    for write in evidence.writes:
        for attempt in _attempts(write):
            intended.setdefault((write.namespace, attempt["job"]), write.completed)
    for write in evidence.accepted:
        labels = write.request.get("metadata", {}).get("labels", {})
        if (write.verb, write.resource) == ("create", "jobs") and labels.get(OWNER_KIND) in WITH_ATTEMPTS:
            since = intended.get((write.namespace, write.name))
            if since is None or since > write.received:
                yield f"Job {write.namespace}/{write.name} was made before the status of {labels[OWNER_NAME]} named it"


def _attempts(write: Write) -> list[Object]:
    """Return the attempts that a status names: all of a run, the newest of an Evaluation."""
    status = write.told.get("status", {})
    newest = status.get("attempt")
    return list(status.get("attempts") or ()) if write.resource == STATUS else [newest] if newest else []


def nothing_is_lost(evidence: Evidence) -> Iterator[str]:
    """FrozenInputs, and what a status once says of attempts, the end and the artifact, it says for ever."""
    jobs = [write for write in evidence.accepted if (write.verb, write.resource) == ("create", "jobs")]
    since = {(write.namespace, write.name): write.completed for write in jobs}
    for title, writes in evidence.statuses():
        for before, after in pairwise(writes):
            # An attempt that lost its turn before it had a Job never was one.
            begun = {
                name for (namespace, name), at in since.items() if namespace == after.namespace and at < after.received
            }
            words = _lost(before.response.get("status", {}), after.response.get("status", {}), begun)
            yield from (f"run {title}: {each}" for each in words)


def _lost(before: Object, after: Object, begun: Set[str]) -> Iterator[str]:
    for what in ("inputs", "artifact", "record"):
        if before.get(what) and before[what] != after.get(what):
            yield f"{what} was {before[what]} and became {after.get(what)}"
    if before.get("phase") in FINAL and after.get("phase") != before["phase"]:
        yield f"it was {before['phase']} and became {after.get('phase')}"
    kept = {attempt["number"]: attempt for attempt in after.get("attempts", ())}
    for attempt in before.get("attempts", ()):
        now = kept.get(attempt["number"])
        if now is None and attempt["job"] in begun and attempt["number"] >= min(kept, default=0):
            yield f"attempt {attempt['number']} is missing"
        elif now is not None and attempt.get("outcome") and now.get("outcome") != attempt["outcome"]:
            yield f"attempt {attempt['number']} had ended as {attempt['outcome']} and then as {now.get('outcome')}"


def stale_writers_are_refused(evidence: Evidence) -> Iterator[str]:
    """StaleWriterHarmless: what reaches the server after another operator took the Lease changes nothing."""
    taken = evidence.holders()
    for write in evidence.accepted:
        if write.resource != LEASES:
            leader = next((user for at, user in reversed(taken) if at <= write.received), None)
            if leader != write.user:
                yield f"{write.title}, while {leader or 'nobody'} led"


def nothing_is_refused_that_should_not_be_asked(evidence: Evidence) -> Iterator[str]:
    """A right that is missing, or an object that the API server does not take, is a fault of ours."""
    for write in evidence.writes:
        if not write.accepted and write.code not in EXPECTED:
            yield write.title


def success_is_the_trainers_word(evidence: Evidence) -> Iterator[str]:
    """A run succeeds when a pod of it has said so, and only then. A pod that was deleted says nothing any more."""
    done = Counter(key for key, _, _ in _reports(evidence))
    for run in (run for run in evidence.runs if key_of(run) not in evidence.bereft):
        if _phase(run) == "Succeeded" and not done[key_of(run)]:
            yield f"run {title_of(run)} succeeded, and none of its pods says so"
        if _phase(run) == "Failed" and done[key_of(run)]:
            yield f"run {title_of(run)} failed, and one of its pods says that it is done"


def no_event_twice(evidence: Evidence) -> Iterator[str]:
    """`kubectl describe` tells a story: each thing once."""
    told = Counter(
        (each["involvedObject"]["namespace"], each["involvedObject"]["name"], each["reason"], each["message"])
        for each in evidence.events
        if each["involvedObject"]["kind"] in KINDS
        for _ in range(each.get("count") or 1)
    )
    for (namespace, name, reason, message), count in told.items():
        if count > 1:
            yield f"{namespace}/{name}: {reason} was told {count} times: {message}"


def artifacts_are_whole(evidence: Evidence) -> Iterator[str]:
    """The storage has record and artifact of each real run that succeeded, and every file is what its digest says."""
    for run in evidence.runs:
        if not _is_simulated(run) and _phase(run) == "Succeeded":
            digest = run["status"]["inputs"]["digest"]
            if words := evidence.storage.get(digest, "the storage was not looked at"):
                yield f"run {title_of(run)}: {words}"


CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    every_run_ends,
    every_run_is_in_the_log,
    every_failure_speaks,
    real_runs_succeed,
    no_job_twice,
    same_inputs_once,
    intent_first,
    nothing_is_lost,
    stale_writers_are_refused,
    nothing_is_refused_that_should_not_be_asked,
    success_is_the_trainers_word,
    no_event_twice,
    every_bad_end_has_its_event,
    artifacts_are_whole,
    judged.every_evaluation_ends,
    judged.every_candidate_is_judged,
    judged.verdicts_are_final,
    judged.verdicts_are_an_evaluators_word,
    judged.records_say_what_verdicts_say,
    judged.real_evaluations_are_measured,
    judged.same_key_once,
    judged.gates_count_right,
    serving.clients_ask_all_the_time,
    serving.nothing_ungated_is_admitted,
    serving.nothing_ungated_answers,
    serving.the_incumbent_stays,
    serving.only_what_is_served_answers,
    serving.revisions_only_grow,
    serving.every_failed_request_is_explained,
    serving.every_deployment_serves_in_the_end,
    serving.every_trouble_speaks,
)


def judge(evidence: Evidence) -> dict[str, list[str]]:
    """Return what each check found wrong."""
    return {check.__name__: list(check(evidence)) for check in CHECKS}


def _is_simulated(run: Object) -> bool:
    labels: dict[str, str] = run["metadata"].get("labels", {})
    return MARK.items() <= labels.items()


def _phase(run: Object) -> str:
    return str(run.get("status", {}).get("phase", ""))


def _ready(run: Object) -> Object:
    conditions = run.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == "Ready"), {})
