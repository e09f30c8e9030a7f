"""What an EvalGate needs next. Pure: a gate begins Evaluations, and tells what came of them."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError

from stagecoach.api.gate_status import MAX_CANDIDATES, UnjudgedRun, WaitingRun
from stagecoach.kinds.blocked import Blocked, ready_project
from stagecoach.kinds.controller import Controller, Settings
from stagecoach.kinds.evalgate import judging, status
from stagecoach.kinds.evalgate.faults import fault
from stagecoach.kinds.evalgate.neighbours import references, wakes
from stagecoach.kinds.evalgate.observe import Observed, observe
from stagecoach.kinds.evaluation.neighbours import measured
from stagecoach.kinds.invalid import unreadable
from stagecoach.kinds.plan import Event, Object, Plan
from stagecoach.kinds.view import View

THEN = "the gate judges its candidates then"
LATER = "A later version of the operator wrote this run: upgrade the operator again, and it is judged."


def reconcile(view: View, raw: Object, now: datetime, settings: Settings) -> Plan:
    """Observe and decide."""
    try:
        observed = observe(view, raw)
    except ValidationError as error:
        return unreadable(raw, error, now)
    return decide(observed, now, settings)


def decide(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Return what to do now. Evaluations of an earlier text of the gate, or of its data, stay as they are."""
    gate, known = observed.gate, observed.evaluations
    if gate.metadata.deletion_timestamp:
        return Plan()  # Evaluations stay
    try:
        project = ready_project(gate, observed.project, THEN)
        if found := fault(gate, project, settings):
            raise Blocked(*found, waits=False)
    except Blocked as why:
        told = status.blocked(gate, known, why.reason, why.message, now, waits=why.waits)
        return Plan(status=told, events=(Event(why.reason, why.message, warning=not why.waits),))
    wanted, unjudged = judging.cases(gate, project, observed.candidates, observed.words, settings)
    unjudged += [UnjudgedRun(run=name, reason="RunUnknown", message=LATER) for name in observed.unreadable]
    unjudged += [
        judging.taken(case) for case in wanted if case.name in known and judging.is_taken(case, known[case.name])
    ]
    unjudged = _each_once(unjudged)
    to_judge = [case for case in wanted if case.name not in known]
    free = gate.spec.max_concurrent - sum(not measured(each) for each in known.values())
    begun, waiting = to_judge[: max(0, free)], to_judge[max(0, free) :]
    made = {case.name: judging.evaluation(gate, case) for case in begun}
    names = {case.name for case in wanted}
    told = status.judging(gate, {**known, **made}, [WaitingRun(**case.of) for case in waiting], unjudged, names, now)
    # An operator that died before it made them has told of these.
    told_of = {item.evaluation for item in gate.status.judging}
    events = [
        Event("Judging", f"Evaluation {case.name} judges {case.spec.named}.")
        for case in begun
        if case.name not in told_of
    ]
    before = {(item.named, item.reason) for item in gate.status.unjudged}
    events += [
        Event(item.reason, f"{item.title} cannot be judged: {item.message}", warning=True)
        for item in unjudged[:MAX_CANDIDATES]
        if (item.named, item.reason) not in before
    ]
    return Plan(status=told, events=tuple(events), create=tuple(made.values()))


def _each_once(unjudged: Iterable[UnjudgedRun]) -> list[UnjudgedRun]:
    """Return the first word of each run: it may be that it can be compared with none of several incumbents."""
    first: dict[str, UnjudgedRun] = {}
    for item in unjudged:
        first.setdefault(item.named, item)
    return list(first.values())


CONTROLLER = Controller(kind="EvalGate", plural="evalgates", references=references, wakes=wakes, reconcile=reconcile)
