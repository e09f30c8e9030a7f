"""What a gate, as it is now, says of runs, and of bases: the only way in which a verdict lets a release be served.

A verdict counts by its key alone. One that was given by an earlier text of the gate, or by other data, says nothing of
what the gate asks for now, whatever it comes to later. One beside another release than what is served counts for what
was admitted by it before, and may come back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from stagecoach.api.evalgate import EvalGate, WhenAbsent
from stagecoach.api.evaluation import Evaluation
from stagecoach.api.evaluation_status import EvaluationVerdict
from stagecoach.api.finetunerun import FineTuneRun, Purpose
from stagecoach.api.run_status import Phase
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.evaluations import EvaluationInputs
from stagecoach.contract.verdicts import Verdict
from stagecoach.kinds.blocked import Blocked, ready_project
from stagecoach.kinds.conditions import of
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.evalgate import asked, judging, observe, refused_since, served_before
from stagecoach.kinds.evalgate.faults import fault
from stagecoach.kinds.evalgate.incumbents import NOBODY, Incumbents, compares
from stagecoach.kinds.evalgate.judging import Case, Subject
from stagecoach.kinds.evalgate.released import Unjudged
from stagecoach.kinds.evalgate.served_before import NoWayBack
from stagecoach.kinds.evalgate.untuned import BaseItself
from stagecoach.kinds.evalgate.words import Word
from stagecoach.kinds.evaluation import document
from stagecoach.kinds.evaluation.neighbours import awaits_review, own_judged_key
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View
from stagecoach.policies import verdicts
from stagecoach.policies.admission import NOTHING_BEFORE, GateState, GateWord

CRITERION_FAILED = verdicts.REASONS[Verdict.FAILED]
THEN = "its gates say what may be served then"
UNDER_WAY = {GateState.WAITING, GateState.JUDGING, GateState.AWAITING_REVIEW}
VERDICTS = {
    EvaluationVerdict.PASSED: GateState.PASSED,
    EvaluationVerdict.FAILED: GateState.FAILED,
    EvaluationVerdict.INCONCLUSIVE: GateState.INCONCLUSIVE,
    EvaluationVerdict.ERROR: GateState.ERROR,
}


def gate_words(
    view: View, deployment: Object, gate_name: str, subjects: Sequence[Subject], settings: Settings
) -> list[GateWord]:
    """Return what a gate says of each of these to a deployment: cheaper than to ask for one after the other.

    It may depend on what the deployment that asks serves as it asks.
    """
    namespace = deployment["metadata"]["namespace"]
    key = Key("EvalGate", namespace, gate_name)
    raw = view.get(key)
    if raw is None or "deletionTimestamp" in raw["metadata"]:
        gone = (
            f"there is no EvalGate {gate_name!r} in namespace {namespace!r}" if raw is None else "it is being deleted"
        )
        message = f"spec.gates[{gate_name}]: {gone}. Create it, or name another."
        return [GateWord(gate_name, GateState.MISSING, "GateMissing", message) for _ in subjects]
    try:
        gate = view.read(key, EvalGate.model_validate)
        if gate is None:
            raise AssertionError("it was there")
        project = ready_project(gate, observe.project_of(view, raw), THEN)
        if found := fault(gate, project, settings):
            raise Blocked(*found)
    except ValidationError:
        message = f"EvalGate {gate_name!r} is not what this version of the operator expects. See its condition Ready."
        return [GateWord(gate_name, GateState.BLOCKED, "GateUnreadable", message) for _ in subjects]
    except Blocked as why:
        message = f"EvalGate {gate_name!r} judges nothing: {why.message}"
        return [GateWord(gate_name, GateState.BLOCKED, why.reason, message) for _ in subjects]
    said = observe.said(view, raw, (each for each in subjects if isinstance(each, FineTuneRun)))
    served = observe.incumbents(view, gate, raw, deployment)
    words = [_word(view, gate, project, each, served, said, settings) for each in subjects]
    if not compares(gate):
        return words
    told = zip(words, subjects, strict=True)
    return [_or_of_then(word, view, deployment, gate, project, each, said, settings) for word, each in told]


def _word(
    view: View,
    gate: EvalGate,
    project: TransformerProject,
    subject: Subject,
    served: Incumbents,
    said: Mapping[str, Sequence[Word]],
    settings: Settings,
) -> GateWord:
    name = gate.metadata.name
    try:
        _check(gate, subject)
        case = judging.case_of(gate, project, subject, served, said, settings)
        raw = view.get(Key("Evaluation", gate.metadata.namespace, case.name))
        if raw is not None and judging.is_taken(case, raw):
            raise Unjudged("NameTaken", judging.taken(case).message)
    except Unjudged as why:
        message = f"EvalGate {name!r} cannot judge {_named(subject)}: {why.message}"
        return GateWord(name, GateState.UNJUDGED, why.reason, message)
    state, reason, message = _of_evaluation(view, case, raw, serves=case.spec.release.digest == served.serving)
    if state in UNDER_WAY and (before := _passed_beside_another(view, case, project)):
        reason, message = "IncumbentChanged", f"{before} {message}"
    return GateWord(name, state, reason, message, case.name, case.spec.key, case.spec.release.digest)


def _or_of_then(
    word: GateWord,
    view: View,
    deployment: Object,
    gate: EvalGate,
    project: TransformerProject,
    subject: Subject,
    said: Mapping[str, Sequence[Word]],
    settings: Settings,
) -> GateWord:
    """Return a word, or that what is judged was admitted before, if it may come back by the verdict of then."""
    of = judging.of(subject)
    if word.state is GateState.PASSED or (word.release and not served_before.is_meant(deployment, of, word.release)):
        return word
    try:
        _check(gate, subject)
        case = judging.case_of(gate, project, subject, NOBODY, said, settings)
    except Unjudged:
        return word
    try:
        return _of_then(view, deployment, case, project) or word
    except NoWayBack as why:
        if case.spec.release.digest == asked.serving(deployment).get("release"):
            return word  # it need not come back
        told = f"It was served before, and does not come back by its verdict of then: {why}."
        return replace(word, message=f"{word.message.rstrip('. ')}. {told}")


def _of_then(view: View, deployment: Object, case: Case, project: TransformerProject) -> GateWord | None:
    """Return the verdict by which a release may come back: of what the gate asks now, but for the comparison.

    None: it is not meant to. Raises NoWayBack.
    """
    gate, release, inputs = case.spec.gate, case.spec.release.digest, document.inputs(case.spec, project)
    then = served_before.verdict(deployment, gate, case.of, release)
    if then is None:
        return None
    name, key = then["evaluation"], then["key"]
    case = Case(case.spec.model_copy(update={"key": key}))
    raw = view.get(Key("Evaluation", project.metadata.namespace, name))
    if raw is None or judging.is_taken(case, raw):
        raise NoWayBack(f"Evaluation {name} is gone")
    if not _asks(raw, inputs):
        raise NoWayBack(f"gate {gate} asks for something else now than Evaluation {name}")
    state, reason, message = _of_evaluation(view, case, raw, serves=False)
    if state is not GateState.PASSED:
        raise NoWayBack(message.rstrip(". "))
    others = [each for each in view.referrers(own_judged_key(raw)) if each["kind"] == "Evaluation"]
    if refused := refused_since.why(view, raw, (each for each in others if _asks(each, inputs))):
        raise NoWayBack(refused)
    return GateWord(gate, state, reason, message, name, key, release, of_then=True)


def _asks(raw: Object, inputs: EvaluationInputs) -> bool:
    """Whether this is what an Evaluation asks, but for what that compares with."""
    beside = raw["spec"].get("incumbent", {}).get("release", {}).get("digest")
    return bool(inputs.model_copy(update={"incumbent": beside}).digest == raw["spec"].get("key"))


def _named(subject: Subject) -> str:
    return f"base {subject.name!r}" if isinstance(subject, BaseItself) else f"run {subject.metadata.name!r}"


def _check(gate: EvalGate, run: Subject) -> None:
    """Raise Unjudged for a run, or a base itself, that no gate, or not this one, has to do with."""
    if isinstance(run, BaseItself):
        if run.project != gate.spec.project:
            raise _of_another_project(gate, "the base", run.project)
        return
    if run.metadata.namespace != gate.metadata.namespace or run.spec.project != gate.spec.project:
        raise _of_another_project(gate, "the run", run.spec.project)
    if run.spec.purpose is Purpose.EXPERIMENT:
        message = "spec.purpose of the run is Experiment, which is never judged. Create a run of purpose Candidate."
        raise Unjudged("Experiment", message)
    ended = run.status.phase is Phase.SUCCEEDED and run.status.artifact and run.status.inputs
    if not ended or run.metadata.deletion_timestamp:
        message = "it has not succeeded, or is being deleted. Let it end, or choose another."
        raise Unjudged("RunNotSucceeded", message)


def _of_another_project(gate: EvalGate, what: str, project: str) -> Unjudged:
    message = f"spec.project of the gate is {gate.spec.project!r}, and that of {what} is {project!r}. Choose a gate of"
    return Unjudged("OtherProject", f"{message} the same project.")


def _of_evaluation(view: View, case: Case, raw: Object | None, *, serves: bool) -> tuple[GateState, str, str]:
    """Return what the Evaluation of a case has come to: of what serves, or of what may come to."""
    if raw is None:
        message = f"EvalGate {case.spec.gate!r} has not begun to judge {case.spec.named}: it waits for its turn."
        return GateState.WAITING, "NotBegun", message
    if "deletionTimestamp" in raw["metadata"]:
        message = f"Evaluation {case.name} is being deleted. Its gate judges anew when it is gone."
        return GateState.WAITING, "NotBegun", message
    try:
        evaluation = view.read(Key("Evaluation", raw["metadata"]["namespace"], case.name), Evaluation.model_validate)
    except ValidationError:
        evaluation = None
    if evaluation is None:
        message = f"Evaluation {case.name} is of a later version of the operator: upgrade the operator again."
        return GateState.BLOCKED, "EvaluationUnreadable", message
    told = of(evaluation.status.conditions, "Ready")
    words = f"Evaluation {case.name}: {evaluation.status.message or (told.message if told else 'it has just begun.')}"
    verdict = evaluation.status.verdict
    if verdict is not None and evaluation.status.completion_time is not None:
        complete = of(evaluation.status.conditions, "Complete")
        reason = complete.reason if complete else verdict.value
        if serves and reason == CRITERION_FAILED and (absent := _absent_alone(evaluation)):
            message = (
                f"criteria[{absent}].whenAbsent (Fail): nothing is known that was served before {case.spec.named},"
                f" to compare it with (Evaluation {case.name}). Nothing to do: what comes next is compared with this."
            )
            return GateState.UNJUDGED, NOTHING_BEFORE, message
        return VERDICTS[verdict], reason, words
    if awaits_review(raw):
        return GateState.AWAITING_REVIEW, "AwaitingReview", words
    return GateState.JUDGING, "Judging", words


def _absent_alone(evaluation: Evaluation) -> str:
    """Return a criterion that failed for want of something to compare with, if nothing else keeps it from Passed."""
    spec, results = evaluation.spec, evaluation.status.results
    absent = {each.name for each in spec.criteria if each.when_absent is WhenAbsent.FAIL and spec.incumbent is None}
    unmet = [each.criterion for each in results if not each.advisory and each.outcome not in refused_since.MET]
    return unmet[0] if unmet and absent.issuperset(unmet) else ""


def _passed_beside_another(view: View, case: Case, project: TransformerProject) -> str:
    """Return in words by which Evaluation a case has passed, but for what it was compared with; nothing, if by none."""
    served = case.spec.incumbent
    if served is None:
        return ""
    inputs = document.inputs(case.spec, project)
    for raw in view.referrers(Key("EvalGate", project.metadata.namespace, case.spec.gate)):
        if raw["kind"] != "Evaluation" or raw.get("status", {}).get("verdict") != EvaluationVerdict.PASSED.value:
            continue
        if raw["spec"].get("release", {}).get("digest") != inputs.release:
            continue
        if _asks(raw, inputs):
            name = raw["metadata"]["name"]
            passed = f"It has passed beside another release, or beside none (Evaluation {name})"
            return f"{passed}; here {served.named} is served."
    return ""
