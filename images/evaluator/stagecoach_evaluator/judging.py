"""TEMPORARY until the statistics are here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.verdicts import CriterionResult, Outcome, Verdict
from stagecoach_evaluator.parties import Parties
from stagecoach_evaluator.seen import Seen


@dataclass(frozen=True)
class Judged:
    verdict: Verdict
    message: str
    results: tuple[CriterionResult, ...]
    metrics: Any = ()


def judge(job: EvaluateJob, who: Parties, seen: Sequence[Seen]) -> Judged:
    by_name = {each.rows.suite.name: each for each in seen}
    results = []
    verdict = Verdict.PASSED
    for criterion in job.inputs.criteria:
        each = by_name[criterion.suite]

        def acc(answers):
            ok = [
                (a.label or a.text or a.tags or (a.rank == 1 and e)) == e
                for a, e in zip(answers.each, each.rows.expected(), strict=True)
                if a.error is None
            ]
            return sum(ok) / len(ok) if ok else None

        value = acc(each.candidate)
        reference = acc(each.baseline) if criterion.against and each.baseline else None
        if value is None or each.candidate.scored < job.inputs.min_scored * len(each.candidate.each):
            outcome = Outcome.ERROR
        elif criterion.against:
            outcome = (
                Outcome.PASSED
                if value - reference
                >= (criterion.min_gain if criterion.min_gain is not None else -criterion.allowed_drop)
                else Outcome.FAILED
            )
        else:
            outcome = Outcome.PASSED if value >= criterion.min else Outcome.FAILED
        results.append(
            CriterionResult(
                criterion=criterion.name,
                outcome=outcome,
                value=value,
                reference=reference,
                scored=each.candidate.scored,
            )
        )
    if any(each.leaked for each in seen) or any(r.outcome is Outcome.FAILED for r in results):
        verdict = Verdict.FAILED
    elif any(each.leaked is None for each in seen) or any(r.outcome is Outcome.ERROR for r in results):
        verdict = Verdict.ERROR
    return Judged(verdict, "words.", tuple(results))
