"""The rows that a gate judges by, read and checked."""

from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from stagecoach.contract import alignment
from stagecoach.contract.evaluations import EvaluateJob, Suite
from stagecoach.contract.inputs import (
    Columns,
    CompletionColumns,
    MatchColumns,
    MessagesColumns,
    OfTask,
    PairColumns,
    SpanColumns,
    TaskDocuments,
    WordColumns,
)
from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.tagged import Marked, Words
from stagecoach_evaluator import harness, repeats
from stagecoach_evaluator.harness import Task
from stagecoach_evaluator.parties import Parties
from stagecoach_trainer import sources
from stagecoach_trainer.sources import Dataset

CHANGED = (
    "Bring back the content that this was to be judged by, or have the project read it again (set its annotation"
    " stagecoach.dev/requested-at): the gate then judges by what is there."
)


@dataclass(frozen=True)
class Rows:
    """A suite, and what its data set holds."""

    suite: Suite
    dataset: Dataset
    harness: Task | None = None  # of a suite that is a task of lm-evaluation-harness

    @cached_property
    def judged(self) -> tuple[int, ...]:
        """The positions of the rows that are judged: each is asked, and one that repeats another is not counted."""
        return repeats.first(self.dataset.rows)

    @property
    def repeated(self) -> int:
        """How many rows repeat another one."""
        return len(self.dataset.rows) - len(self.judged)

    def expected(self) -> list[str | tuple[str, ...]]:
        """Return what is right for each row that is judged: a label, a text, or a tag for each unit."""
        rows = (self.dataset.rows[position] for position in self.judged)
        return [alignment.expected(row) if isinstance(row, Words | Marked) else row.target for row in rows]


def read(job: EvaluateJob, parties: Parties) -> tuple[Rows, ...]:
    """Return the suites' rows. Raises BadInput for content that has changed, and for rows of another task or label."""
    asked, labels = parties.candidate.asked, parties.candidate.labels
    kinds = _kinds(asked, labelled=bool(labels))
    found = []
    for suite, source in zip(job.inputs.suites, job.datasets, strict=True):
        if isinstance(suite.columns, TaskDocuments):
            found.append(Rows(suite, *harness.ready(suite, data(source))))
            continue
        if not isinstance(suite.columns, kinds):
            message = f"the suite {suite.name} has the columns {', '.join(suite.columns.document())}, and {job.name}"
            message = f"{message} is for the task {asked.task}."
            remedy = "Judge by a data set of this task, or judge runs of the other one."
            field = sources.field_of(source)
            raise BadInput(Problem.of("ColumnsUnfit", message, field=field, value=suite.name, remedy=remedy))
        found.append(Rows(suite, data(source)))
    if labels:
        sources.check_labels((rows.dataset for rows in found), labels)
    return tuple(found)


def data(source: DataSource) -> Dataset:
    """Return a data set as the inputs say. Raises BadInput."""
    return sources.read(source, mismatch="InputChanged", remedy=CHANGED)


def _kinds(asked: OfTask, *, labelled: bool) -> tuple[type[BaseModel], ...]:
    """Return which columns the rows of a task may have."""
    if asked.embeds:
        return (MatchColumns,)
    if asked.tags:
        return (WordColumns, SpanColumns)
    if labelled:
        return (Columns,)
    return (PairColumns, CompletionColumns, MessagesColumns)
