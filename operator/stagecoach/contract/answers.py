"""What a release answered, row by row: kept in the storage, so that another comparison asks nobody again.

A file of answers is of one release and one data set, read by certain columns: a line of JSON for each row, in the
rows' order.
"""

from typing import Any, Literal

from pydantic import Field

from stagecoach.contract.digests import Digest
from stagecoach.contract.inputs import AnyColumns
from stagecoach.contract.model import ContractModel

# Raised when a release, asked the same, could answer otherwise: what was kept before is asked anew.
ASKING_REVISION = 1


class Answer(ContractModel):
    """What came back for a row. Nothing but `row` and `error`: there was no answer that could be used."""

    row: int = Field(ge=0, description="Position in the data set, from 0 over all of its files.")
    label: str | None = Field(None, description="Of a Classification: the label that was chosen.")
    scores: tuple[float, ...] | None = Field(
        None, description="The probability of each label in their order, where the model has a head that gives it."
    )
    text: str | None = Field(None, description="Of a task that writes: what was written.")
    tags: tuple[str, ...] | None = Field(
        None, description="Of a TokenClassification: a tag for each of the row's units, as alignment.expected has them."
    )
    rank: int | None = Field(
        None, ge=1, description="Of an Embedding: the rank of the row's passage among those of all rows, 1 the best."
    )
    values: dict[str, Any] | None = Field(
        None,
        description="Of a task of lm-evaluation-harness: by metric what it makes of the row; `text` is what was chosen"
        " or written.",
    )
    error: str | None = Field(None, max_length=500, description="Why there is none.")


class AnswersManifest(ContractModel):
    """That the answers are complete."""

    schema_version: Literal[1] = 1
    revision: int = Field(description="The ASKING_REVISION of who asked.")
    release: Digest
    data: Digest
    columns: AnyColumns
    rows: int
    digest: Digest = Field(description="Digest of the file's content.")
    image: str = Field(description="The image that asked.")
    engine: str | None = Field(None, description="Of an engine in a container of its own: its image and its version.")
    seconds: float
