"""What people are asked before a release passes, and the rows that they read.

The rows are too long for a termination message: the pod prints them as the last lines of its log, and its Report has
their digest. A log that was lost, or is not that of the Report, is as none.
"""

from collections.abc import Iterable
from typing import Self

from pydantic import Field, ValidationError, model_validator

from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.model import ContractModel

MAX_ROWS = 20
# Characters of a text as reviewers read it. The report has more.
MAX_SHOWN = 400
MAX_PLACE = 120


class Reviewer(ContractModel):
    """Who may decide: a user, or each member of a group."""

    user: str | None = None
    group: str | None = None


class Review(ContractModel):
    """Who has to look at which suite's rows. It decides what comes of an evaluation, so it is part of its key."""

    suite: str
    reviewers: tuple[Reviewer, ...]
    approvals: int
    valid_for: str
    rubric: tuple[str, ...] = ()
    min_score: float | None = None


class CanaryRow(ContractModel):
    """A row as reviewers read it."""

    row: str = Field(max_length=MAX_PLACE, description="Where it is: data set and position.")
    input: str = Field(max_length=MAX_SHOWN)
    expected: str = Field(max_length=MAX_SHOWN)
    candidate: str | None = Field(None, max_length=MAX_SHOWN, description="None: there is no answer to use.")
    baseline: str | None = Field(None, max_length=MAX_SHOWN)
    incumbent: str | None = Field(None, max_length=MAX_SHOWN)


class CanaryLine(ContractModel):
    """A line of the log, so that it cannot be mistaken for another program's output."""

    canary: CanaryRow


class CanaryRows(ContractModel):
    """All rows, in their order."""

    rows: tuple[CanaryRow, ...] = Field(max_length=MAX_ROWS)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({each.row for each in self.rows}) < len(self.rows):
            raise ValueError("a row is there twice")
        return self

    @property
    def digest(self) -> str:
        """The identity of what is read."""
        return digest_of_document(self.document())

    def lines(self) -> Iterable[str]:
        """Return the lines of the log."""
        return (CanaryLine(canary=each).line() for each in self.rows)

    @classmethod
    def read(cls, log: str) -> Self:
        """Return the rows in a log; none if they are not as they have to be."""
        try:
            lines = [CanaryLine.model_validate_json(line) for line in log.split("\n") if line.startswith('{"canary"')]
            return cls(rows=tuple(line.canary for line in lines))
        except ValidationError:
            return cls(rows=())


def shown(text: str, longest: int = MAX_SHOWN) -> str:
    """Return what reviewers read of a text."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
