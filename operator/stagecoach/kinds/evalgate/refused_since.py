"""What was found against a release since a verdict of it: what it is compared with by now decides nothing here."""

from collections.abc import Iterable

from stagecoach.api.evalgate import Against
from stagecoach.api.evaluation import Evaluation
from stagecoach.api.evaluation_status import EvaluationVerdict
from stagecoach.contract.verdicts import Outcome
from stagecoach.kinds.evaluation.observe import approvals_of
from stagecoach.kinds.evaluation.reviewing import question
from stagecoach.kinds.plan import Object, key_of
from stagecoach.kinds.view import View
from stagecoach.policies import reviews

NOT_GOOD = {EvaluationVerdict.FAILED.value, EvaluationVerdict.INCONCLUSIVE.value}
MET = {Outcome.PASSED, Outcome.SKIPPED}


def why(view: View, then: Object, others: Iterable[Object]) -> str:
    """Return what refuses a release that an Evaluation has passed, in words; nothing, if nothing does.

    `others`: those that ask the same, whatever they compare it with.
    """
    since = then["status"]["completionTime"]
    for raw in others:
        status, name = raw.get("status", {}), raw["metadata"]["name"]
        if status.get("verdict") in NOT_GOOD and status.get("completionTime", "") >= since and not _by_comparison(raw):
            return f"Evaluation {name} says {status['verdict']} since then, and not for the comparison alone"
    return _rejected(view, then)


def _by_comparison(raw: Object) -> bool:
    """Whether nothing but what compares a release with what is served keeps an Evaluation from Passed."""
    criteria = raw["spec"].get("criteria", ())
    comparing = {each["name"] for each in criteria if each.get("against") == Against.INCUMBENT.value}
    results = raw["status"].get("results", ())
    unmet = {each["criterion"] for each in results if not each.get("advisory") and each["outcome"] not in MET}
    return bool(unmet) and unmet <= comparing


def _rejected(view: View, raw: Object) -> str:
    """Return which Reject counts in every Evaluation that shows these rows, though none may come to ask people."""
    evaluation = view.read(key_of(raw), Evaluation.model_validate)
    asked = question(evaluation) if evaluation else None
    rejection = reviews.weigh(approvals_of(view, raw)[0], asked, asked.made).rejection if asked else None
    return f"Approval {rejection.metadata.name} of {rejection.spec.reviewer} rejects it" if rejection else ""
