"""The rows that people look at before a release passes: printed at the end of the log, for the operator to show."""

import hashlib

from stagecoach.contract import layout
from stagecoach.contract.evaluation_report import EvaluationDocument, Told
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.reports import Problem
from stagecoach.contract.reviews import MAX_PLACE, MAX_ROWS, CanaryRow, CanaryRows, shown
from stagecoach.contract.store import StorageFailed, Store
from stagecoach.contract.verdicts import EvaluationReport, Verdict
from stagecoach_evaluator import records
from stagecoach_evaluator.report import JSON


def told(job: EvaluateJob, storage: Store, report: EvaluationReport) -> EvaluationReport:
    """Print the rows that have to be looked at, if any, and return the report with their digest.

    They are those of the report in the storage, whoever wrote it: of an evaluation that was adopted there is no other.
    """
    review = job.inputs.review
    if review is None or report.verdict is not Verdict.PASSED:
        return report
    document = EvaluationDocument.model_validate_json(_evidence(job, storage, report), extra="ignore")
    [suite] = [each for each in document.suites if each.name == review.suite]
    rows = CanaryRows(rows=tuple(map(_shown, suite.canaries[:MAX_ROWS])))
    print("\n".join(rows.lines()), flush=True)
    return report.model_copy(update={"canary": rows.digest})


def _evidence(job: EvaluateJob, storage: Store, report: EvaluationReport) -> bytes:
    """Return the report as its record has it: somebody may have written to the storage since that was checked."""
    key = job.inputs.digest
    place = f"{layout.evaluation_folder(key)}/{JSON}"
    known = next((record for record, digest in records.read(storage, key) if digest == report.record), None)
    if known is not None:
        [entry] = [each for each in known.report if each.path == JSON]
        content = storage.read(place)
        if hashlib.sha256(content).hexdigest() == entry.sha256:
            return content
    message = "it has been changed since the evaluation was published, so nobody can be asked about its rows."
    remedy = "Find out who else writes there. The next attempt judges anew."
    raise StorageFailed(Problem.of("EvidenceChanged", message, value=place, remedy=remedy))


def _shown(row: Told) -> CanaryRow:
    # Its number is at the end.
    place = row.place if len(row.place) <= MAX_PLACE else "…" + row.place[1 - MAX_PLACE :]
    return CanaryRow(
        row=place,
        input=shown(row.input),
        expected=shown(row.expected),
        candidate=None if row.candidate is None else shown(row.candidate),
        baseline=None if row.baseline is None else shown(row.baseline),
        incumbent=None if row.incumbent is None else shown(row.incumbent),
    )
