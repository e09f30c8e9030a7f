"""The rows that people look at before a release passes: printed at the end of the log, for the operator to show."""

from stagecoach.contract import layout
from stagecoach.contract.evaluation_report import EvaluationDocument, Told
from stagecoach.contract.evaluations import EvaluateJob
from stagecoach.contract.reviews import MAX_PLACE, MAX_ROWS, CanaryRow, CanaryRows, shown
from stagecoach.contract.store import Store
from stagecoach.contract.verdicts import EvaluationReport, Verdict
from stagecoach_evaluator.report import JSON


def told(job: EvaluateJob, storage: Store, report: EvaluationReport) -> EvaluationReport:
    """Print the rows that have to be looked at, if any, and return the report with their digest.

    They are those of the report in the storage, whoever wrote it: of an evaluation that was adopted there is no other.
    """
    review = job.inputs.review
    if review is None or report.verdict is not Verdict.PASSED:
        return report
    content = storage.read(f"{layout.evaluation_folder(job.inputs.digest)}/{JSON}")
    document = EvaluationDocument.model_validate_json(content, extra="ignore")
    [suite] = [each for each in document.suites if each.name == review.suite]
    rows = CanaryRows(rows=tuple(map(_shown, suite.canaries[:MAX_ROWS])))
    print("\n".join(rows.lines()), flush=True)
    return report.model_copy(update={"canary": rows.digest})


def _shown(row: Told) -> CanaryRow:
    # Its number is at the end.
    place = row.place if len(row.place) <= MAX_PLACE else "…" + row.place[1 - MAX_PLACE :]
    return CanaryRow(
        row=place,
        input=shown(row.input),
        expected=shown(row.expected),
        candidate=None if row.candidate is None else shown(row.candidate),
        baseline=None if row.baseline is None else shown(row.baseline),
    )
