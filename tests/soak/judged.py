"""What has to hold of Evaluations and gates whatever happens: as verdict.py has it of runs."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from stagecoach.build.labels import OWNER_KIND, OWNER_NAME
from stagecoach.contract.verdicts import CriterionResult, EvaluationReport
from stagecoach.policies.pods import pod_state
from tests.soak.evidence import VERDICT, Evidence, key_of, title_of
from tests.soak.ground import SIMULATED

Object = dict[str, Any]

DECIDED = ("verdict", "results", "report", "message", "completionTime")


def every_evaluation_ends(evidence: Evidence) -> Iterator[str]:
    """NothingStuck: every Evaluation has its verdict, and no gate waits for any."""
    for each in evidence.evaluations:
        if not _status(each).get("verdict"):
            yield f"Evaluation {title_of(each)} is {_status(each).get('phase', 'without a phase')}"
    for gate in evidence.gates:
        status = _status(gate)
        left = [*status.get("waiting", ()), *status.get("unjudged", ())]
        if status.get("phase") != "Idle" or left:
            yield f"gate {title_of(gate)} is {status.get('phase', 'without a phase')}, and has not judged {left}"


def every_candidate_is_judged(evidence: Evidence) -> Iterator[str]:
    """Each of a gate's newest candidates has an Evaluation of its release, and no experiment has any."""
    purposes = {key_of(run): run["spec"].get("purpose", "Candidate") for run in evidence.runs}
    for each in evidence.evaluations:
        if purposes.get((key_of(each)[0], each["spec"]["run"])) == "Experiment":
            yield f"Evaluation {title_of(each)} judges an experiment, {each['spec']['run']}"
    for gate in evidence.gates:
        judged = {each["spec"]["release"]["artifact"] for each in _of_gate(evidence, gate)}
        for run in _candidates(evidence, gate):
            if _status(run)["artifact"]["digest"] not in judged:
                yield f"gate {title_of(gate)} has not judged run {title_of(run)}"


def verdicts_are_final(evidence: Evidence) -> Iterator[str]:
    """VerdictIsFinal: what an Evaluation was decided to be, every later status says, and it itself in the end."""
    there = {title_of(each): [_status(each)] for each in evidence.evaluations}
    for title, writes in evidence.statuses(VERDICT):
        told = [*(write.response.get("status", {}) for write in writes), *there.get(title, [{}])]
        first: Object = next((status for status in told if status.get("verdict")), {})
        for status in told[told.index(first) :] if first else ():
            if changed := [name for name in DECIDED if status.get(name) != first.get(name)]:
                name = changed[0]
                yield f"Evaluation {title}: {name} was {first.get(name)} and became {status.get(name)}"
                break


def verdicts_are_an_evaluators_word(evidence: Evidence) -> Iterator[str]:
    """VerdictIsFinal: nothing is measured, and so nothing Passed, but what a pod reported, with its record.

    A pod that was deleted says nothing any more.
    """
    for each in evidence.evaluations:
        status, reports = _status(each), _reports(evidence, [each])
        if not status.get("report"):
            if status.get("verdict") not in (None, "Error"):
                yield f"Evaluation {title_of(each)} is {status['verdict']} without a record"
            if reports and status.get("verdict") and key_of(each) not in evidence.bereft:
                yield f"Evaluation {title_of(each)} is {status['verdict']}, and one of its pods came to a verdict"
        elif not any(_told(report) == _measured(each) for report in reports) and key_of(each) not in evidence.bereft:
            yield f"Evaluation {title_of(each)} is {status.get('verdict')}, and none of its pods says just that"


def records_say_what_verdicts_say(evidence: Evidence) -> Iterator[str]:
    """VerdictIsFinal: what was measured for real is in the storage, and every file there is what its record says."""
    for each in _real(evidence.evaluations):
        if not _status(each).get("report"):
            continue
        known = evidence.records.get(each["spec"]["key"], "the storage has no record")
        if isinstance(known, str):
            yield f"Evaluation {title_of(each)}: {known}"
        elif (known.record.verdict, known.digest, _numbers(known.record.results)) != _measured(each):
            yield f"Evaluation {title_of(each)} is {_measured(each)}, and its record {known.record.verdict}"


def real_evaluations_are_measured(evidence: Evidence) -> Iterator[str]:
    """No fault of these is a reason for an Error where everything can be measured."""
    for each in _real(evidence.evaluations):
        if _status(each).get("verdict") == "Error":
            yield f"Evaluation {title_of(each)} is Error: {_status(each).get('message')}"


def same_key_once(evidence: Evidence) -> Iterator[str]:
    """NothingTwice: an Evaluation is made once, and what several come to by the same key is computed by one pod."""
    made = Counter(
        (w.namespace, w.name) for w in evidence.accepted if (w.verb, w.resource) == ("create", "evaluations")
    )
    for (namespace, name), count in made.items():
        if count > 1:
            yield f"Evaluation {namespace}/{name} was made {count} times"
    by_key: dict[tuple[str, str], list[Object]] = {}
    for each in evidence.evaluations:
        by_key.setdefault((key_of(each)[0], each["spec"]["key"]), []).append(each)
    for (_, key), evaluations in by_key.items():
        makers = [report for report in _reports(evidence, evaluations) if not report.adopted]
        if len(makers) > 1:
            yield f"{key} was computed by {len(makers)} pods, of {', '.join(map(title_of, evaluations))}"


def gates_count_right(evidence: Evidence) -> Iterator[str]:
    """A gate says how many of its Evaluations came to which verdict."""
    for gate in evidence.gates:
        there = Counter(str(_status(each).get("verdict", "")).lower() for each in _of_gate(evidence, gate))
        told: Counter[str] = Counter(_status(gate).get("verdicts", {}))
        if +told != there:
            yield f"gate {title_of(gate)} says {dict(+told)}, and its Evaluations are {dict(there)}"


def _status(obj: Object) -> Object:
    result: Object = obj.get("status", {})
    return result


def _real(evaluations: Iterable[Object]) -> list[Object]:
    return [each for each in evaluations if key_of(each)[0] != SIMULATED]


def _of_gate(evidence: Evidence, gate: Object) -> list[Object]:
    namespace, name = key_of(gate)
    return [each for each in evidence.evaluations if (key_of(each)[0], each["spec"]["gate"]) == (namespace, name)]


def _candidates(evidence: Evidence, gate: Object) -> list[Object]:
    namespace, _ = key_of(gate)
    runs = [
        run
        for run in evidence.runs
        if key_of(run)[0] == namespace
        and run["spec"].get("purpose") != "Experiment"
        and _status(run).get("phase") == "Succeeded"
    ]
    newest = gate["spec"].get("newest", 10)
    return heapq.nlargest(newest, runs, key=lambda run: (run["metadata"]["creationTimestamp"], run["metadata"]["uid"]))


def _reports(evidence: Evidence, evaluations: Iterable[Object]) -> list[EvaluationReport]:
    """Return what the pods of Evaluations came to."""
    whose = {key_of(each) for each in evaluations}
    labelled = ((pod, pod["metadata"].get("labels", {})) for pod in evidence.pods)
    pods = [
        pod
        for pod, labels in labelled
        if labels.get(OWNER_KIND) == "Evaluation" and (key_of(pod)[0], labels.get(OWNER_NAME)) in whose
    ]
    reports = (pod_state(pod).report for pod in pods)
    return list(chain.from_iterable([each.evaluation] for each in reports if each and each.evaluation))


def _told(report: EvaluationReport) -> tuple[object, ...]:
    return report.verdict, report.record, _numbers(report.results)


def _measured(evaluation: Object) -> tuple[object, ...]:
    status = _status(evaluation)
    results = [CriterionResult.model_validate(each) for each in status.get("results", ())]
    return status.get("verdict"), status["report"]["digest"], _numbers(results)


def _numbers(results: Iterable[CriterionResult]) -> list[tuple[object, ...]]:
    return [(each.criterion, each.outcome, each.value, each.scored) for each in results]
