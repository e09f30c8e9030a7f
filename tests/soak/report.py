"""What a soak says in the end, in tables."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.table import Table

from tests.soak import answers, timeline
from tests.soak.evidence import LEASES, STATUS, VERDICT, Evidence, within
from tests.soak.ground import REAL, SIMULATED
from tests.soak.telling import taken


def did(done: Mapping[tuple[str, str], int]) -> Table:
    """Return how often which fault was done to whom."""
    table = Table("fault", "of", "times", title="faults", title_justify="left")
    for (name, whom), count in sorted(done.items()):
        table.add_row(name.replace("_", " "), whom, str(count))
    return table


def counted(evidence: Evidence, seconds: float) -> Table:
    """Return how much there was of what, and what was written for it."""
    table = Table("what", "count", title="what happened", title_justify="left")
    for namespace in (REAL, SIMULATED):
        here = within(namespace, evidence.runs)
        phases = Counter(str(run.get("status", {}).get("phase", "none")) for run in here)
        words = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
        attempts = sum(len(run.get("status", {}).get("attempts", ())) for run in here)
        table.add_row(f"{namespace}: runs", f"{len(here)}: {words}")
        table.add_row(f"{namespace}: attempts", str(attempts))
        judged = [each.get("status", {}) for each in within(namespace, evidence.evaluations)]
        verdicts = Counter(str(status.get("verdict", "none")) for status in judged)
        words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        table.add_row(f"{namespace}: Evaluations", f"{len(judged)}: {words}")
        again = sum(status.get("attempt", {}).get("number", 0) for status in judged)
        table.add_row(f"{namespace}: attempts at these", str(again))
    refused = Counter(write.code for write in evidence.writes if not write.accepted)
    writes = [write for write in evidence.accepted if write.resource != LEASES]
    table.add_row("changes of the leader", str(len(evidence.holders()) - 1))
    table.add_row("writes accepted, without Leases", str(len(writes)))
    table.add_row(
        "- of a run's status, for a run",
        f"{sum(w.resource == STATUS for w in writes) / max(1, len(evidence.runs)):.2f}",
    )
    judged_writes = sum(w.resource == VERDICT for w in writes)
    table.add_row("- of an Evaluation's status, for one", f"{judged_writes / max(1, len(evidence.evaluations)):.2f}")
    table.add_row("writes refused, by code", ", ".join(f"{count} × {code}" for code, count in sorted(refused.items())))
    table.add_row("Events that faults may have taken", str(len(taken(evidence))))
    table.add_row("seconds in all", f"{seconds:.0f}")
    return table


def answered(evidence: Evidence) -> Table:
    """Return what clients of the deployment were answered, and what explains their errors."""
    table = Table("what", "count", title="what clients were answered", title_justify="left")
    runs = {each["spec"]["release"]["digest"]: each["spec"]["run"] for each in evidence.evaluations}
    well = [each for each in evidence.answers if each.status == 200]
    errors = answers.failed(evidence.answers)
    table.add_row("requests", str(len(evidence.answers)))
    for release, count in sorted(Counter(each.release for each in well).items()):
        table.add_row(f"- answered by run {runs.get(release, release)}", str(count))
    table.add_row("- failed", f"{len(errors)}: {len(errors) / max(1, len(evidence.answers)):.2%}")
    told = Counter((answers.cause(each, evidence.hits), each.status, each.error) for each in errors)
    for (fault, status, error), count in sorted(told.items()):
        table.add_row(f"  {fault.replace('_', ' ') or 'not explained'}: {status} {error}"[:80], str(count))
    took = sorted((each.ended - each.began).total_seconds() for each in well)
    if took:
        p50, p99 = (took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
        table.add_row("seconds to an answer", f"p50 {p50:.2f}, p99 {p99:.2f}, at most {took[-1]:.2f}")
    table.add_row("something else was served", f"{sum(timeline.switches(evidence))} times")
    for how, count in sorted(evidence.wanted.items()):
        table.add_row(f"- wanted: {how}", f"{count} times")
    return table


def judged(verdict: Mapping[str, Sequence[str]]) -> Table:
    """Return what held."""
    by = "the audit log, the objects, the storage and what clients were answered"
    table = Table("invariant", "verdict", title=f"verdict, by {by}", title_justify="left")
    for name, wrong in verdict.items():
        table.add_row(name.replace("_", " "), "holds" if not wrong else f"violated {len(wrong)} times")
    return table
