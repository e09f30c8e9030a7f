"""How a gate is told: every status that an EvalGate can have is made here."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from stagecoach.api.evalgate import EvalGate
from stagecoach.api.gate_status import (
    MAX_CANDIDATES,
    MAX_JUDGING,
    EvalGateStatus,
    GatePhase,
    JudgedRun,
    LatestVerdict,
    ReviewedRun,
    UnjudgedRun,
    Verdicts,
    WaitingRun,
)
from stagecoach.kinds.conditions import Fact, dated, in_progress, ready, stalled
from stagecoach.kinds.evalgate.judging import whose_release
from stagecoach.kinds.evaluation.neighbours import awaits_review, held_up, measured
from stagecoach.kinds.plan import Object


def blocked(
    gate: EvalGate, evaluations: Mapping[str, Object], reason: str, message: str, now: datetime, *, waits: bool
) -> Object:
    """Nothing new can be judged; what is being judged goes on. `waits`: it may pass without a change of the gate."""
    facts = in_progress(reason, message) if waits else stalled(reason, message)
    phase = GatePhase.BLOCKED if waits else GatePhase.INCOMPLETE
    return _status(gate, evaluations, phase, facts, now, waiting=[], unjudged=[])


def judging(
    gate: EvalGate,
    evaluations: Mapping[str, Object],
    waiting: Sequence[WaitingRun],
    unjudged: list[UnjudgedRun],
    wanted: Collection[str],
    now: datetime,
) -> Object:
    """Candidates are judged, or all that can be judged are. `wanted`: their Evaluations, by what the gate says now."""
    busy = not all(map(measured, evaluations.values()))
    awaiting = [name for name, raw in sorted(evaluations.items()) if awaits_review(raw)]
    asked = [name for name in awaiting if name in wanted]
    superseded = [name for name in awaiting if name not in wanted]
    phase = GatePhase.JUDGING if busy else GatePhase.AWAITING_REVIEW if asked else GatePhase.IDLE
    listed = list({each.named: each for each in waiting}.values())[:MAX_CANDIDATES]
    held_up = _held_up(evaluations) + _asked(asked)
    skipped = _superseded(superseded, gate.metadata.namespace) + _skipped(unjudged)
    facts = _ready(
        held_up, skipped, busy=busy, asked=asked, waiting=len(waiting), unjudged=unjudged, candidates=len(wanted)
    )
    reviewing = [each for each in _reviewing(evaluations) if each.evaluation in wanted][:MAX_CANDIDATES]
    told = unjudged[:MAX_CANDIDATES]
    return _status(gate, evaluations, phase, facts, now, waiting=listed, unjudged=told, reviewing=reviewing)


def _ready(
    held_up: str,
    skipped: str,
    *,
    busy: bool,
    asked: Sequence[str],
    waiting: int,
    unjudged: Sequence[UnjudgedRun],
    candidates: int,
) -> tuple[Fact, ...]:
    if busy:
        more = f"; {waiting} more wait" if waiting else ""
        return ready("Judging", f"Candidates are being judged{more}, see status.judging.{held_up}{skipped}")
    if asked:
        return ready("AwaitingReview", f"{held_up.strip()}{skipped}")
    if not candidates and unjudged:
        told = f"No candidate can be judged: correct what status.unjudged says of {_names(unjudged)}."
        return ready("NoneJudged", told)
    if not candidates:
        return ready("NoCandidates", "No FineTuneRun of purpose Candidate has succeeded yet: the first is judged then.")
    return ready("Judged", f"The newest candidates that can be judged have a verdict.{skipped}")


def _asked(names: Sequence[str]) -> str:
    """Return which Evaluations people have to decide about, if any."""
    if not names:
        return ""
    more = f" and {len(names) - 1} more await" if len(names) > 1 else " awaits"
    return f" Evaluation {names[0]}{more} review: its message says who decides, and how; see status.reviewing."


def _superseded(names: Sequence[str], namespace: str) -> str:
    """Return of which Evaluations nobody needs to decide any more, if any."""
    if not names:
        return ""
    more = f", and {len(names) - 1} more," if len(names) > 1 else ""
    return (
        f" Evaluation {names[0]}{more} awaits review by an earlier text of the gate, of an older run, or beside what is"
        f" not served any more: kubectl delete eval {names[0]} -n {namespace}, if nobody needs it."
    )


def _skipped(unjudged: Sequence[UnjudgedRun]) -> str:
    return f" {len(unjudged)} cannot be judged, see status.unjudged." if unjudged else ""


def _names(unjudged: Sequence[UnjudgedRun]) -> str:
    more = f" and {len(unjudged) - 1} more" if len(unjudged) > 1 else ""
    return f"{unjudged[0].run or unjudged[0].base}{more}"


def _held_up(evaluations: Mapping[str, Object]) -> str:
    """Return which Evaluation waits for something that may need somebody, if any."""
    told = ((name, held_up(raw)) for name, raw in sorted(evaluations.items()))
    name, reason = next(((name, reason) for name, reason in told if reason), ("", ""))
    return f" Evaluation {name} waits ({reason}), see its message." if name else ""


def _status(
    gate: EvalGate,
    evaluations: Mapping[str, Object],
    phase: GatePhase,
    facts: Sequence[Fact],
    now: datetime,
    **changes: Any,
) -> Object:
    generation = gate.metadata.generation
    update = {
        "observed_generation": generation,
        "phase": phase,
        "conditions": dated(facts, gate.status.conditions, generation, now),
        "verdicts": _verdicts(evaluations),
        "latest": _latest(evaluations),
        "judging": _judging(evaluations),
        "reviewing": _reviewing(evaluations)[:MAX_CANDIDATES],
    }
    told: EvalGateStatus = gate.status.model_copy(update=update | changes)
    return told.document()


def _verdicts(evaluations: Mapping[str, Object]) -> Verdicts:
    counts = Counter(raw.get("status", {}).get("verdict") for raw in evaluations.values())
    return Verdicts(
        passed=counts["Passed"], failed=counts["Failed"], inconclusive=counts["Inconclusive"], error=counts["Error"]
    )


def _latest(evaluations: Mapping[str, Object]) -> LatestVerdict | None:
    decided = [(raw["status"]["completionTime"], name) for name, raw in evaluations.items() if _verdict(raw)]
    if not decided:
        return None
    at, name = max(decided)
    raw = evaluations[name]
    return LatestVerdict(**_of(raw), evaluation=name, verdict=_verdict(raw), at=at)


def _of(raw: Object) -> dict[str, str | None]:
    """Return whose release an Evaluation judges."""
    return whose_release(raw["spec"].get("run"), raw["spec"]["base"]["candidate"])


def _verdict(raw: Object) -> str:
    status = raw.get("status", {})
    return str(status.get("verdict", "")) if "completionTime" in status else ""


def _judging(evaluations: Mapping[str, Object]) -> list[JudgedRun]:
    busy = [JudgedRun(**_of(raw), evaluation=name) for name, raw in evaluations.items() if not measured(raw)]
    return sorted(busy, key=lambda item: item.evaluation)[:MAX_JUDGING]


def _reviewing(evaluations: Mapping[str, Object]) -> list[ReviewedRun]:
    asked = [ReviewedRun(**_of(raw), evaluation=name) for name, raw in evaluations.items() if awaits_review(raw)]
    return sorted(asked, key=lambda item: item.evaluation)
