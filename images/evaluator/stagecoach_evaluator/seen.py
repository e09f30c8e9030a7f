"""What there is to judge: the suites' rows, what was answered to them, and which of them were trained on.

Rows are those that are judged, answers theirs.
"""

from dataclasses import dataclass

from stagecoach.contract.evaluation_report import MAX_LEAKED
from stagecoach.contract.evaluations import Scored
from stagecoach_evaluator import metrics
from stagecoach_evaluator.answering import Answers
from stagecoach_evaluator.suites import Rows


@dataclass(frozen=True)
class Seen:
    """One suite with all that is known of it."""

    rows: Rows
    task: str
    candidate: Answers
    baseline: Answers | None
    incumbent: Answers | None
    leaked: dict[int, str] | None  # by position, where in the training data; None: nobody knows what that was
    in_prompt: dict[int, str]  # by position, in which part of the candidate's prompt
    exposures: int

    @property
    def leaked_places(self) -> tuple[str, ...] | None:
        """Where the rows are that are in the training data too."""
        return None if self.leaked is None else tuple(map(self.rows.dataset.place, self.leaked))

    @property
    def shown_places(self) -> dict[str, str]:
        """Where the rows are that stand in the prompt, and in which part of it."""
        return {self.rows.dataset.place(row): part for row, part in self.in_prompt.items()}

    @property
    def scored(self) -> Scored:
        """What became of its rows."""
        leaked = self.leaked_places
        if leaked is not None:
            leaked = tuple(dict.fromkeys([*leaked, *self.shown_places]))
        return Scored(
            suite=self.rows.suite.name,
            rows=len(self.rows.judged),
            repeated=self.rows.repeated,
            scored=sum(
                metrics.scored(self.task, right, answer)
                for right, answer in zip(self.rows.expected(), self.candidate.each, strict=True)
            ),
            leaked=None if leaked is None else leaked[:MAX_LEAKED],
            leaked_rows=None if leaked is None else len(leaked),
            answers=self.candidate.digest,
            baseline_answers=self.baseline.digest if self.baseline else None,
            incumbent_answers=self.incumbent.digest if self.incumbent else None,
        )
