"""All rows of a data set as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

from stagecoach.contract import alignment, progress
from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoded, Encoder, TooLong
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.rows import AnyRow
from stagecoach.contract.tagged import Marked, Words
from stagecoach_trainer.sources import Dataset


@dataclass(frozen=True)
class Example:
    """One row, or one of its chunks: tokens of the prompt and of the completion; or a tag for some tokens of the
    prompt; or tokens of query, positive and maybe negative.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    tags: tuple[str | None, ...] = ()
    negative: tuple[int, ...] = ()
    row: int = 0  # its position in the data set


@dataclass(frozen=True)
class Encoding:
    """A data set as tokens, how many of its rows were cut, and how many were read in chunks."""

    dataset: Dataset
    examples: tuple[Example, ...]
    truncated: int
    chunked: int = 0

    @property
    def chunks(self) -> int:
        """How many examples came of the rows that were read in chunks."""
        return len(self.examples) - (len(self.dataset.rows) - self.chunked)


def encode(dataset: Dataset, encoder: Encoder, profiler: Profiler | None = None) -> Encoding:
    """Tokenize every row, and have the profiler, if any, count its prompt or chunks.

    Raises BadInput for a prompt that is too long and may not be cut, a target too long, or nothing to tag.
    """
    completions = {target: encoder.completion(target) for target in {row.target for row in dataset.rows}}
    limit = encoder.tokenization.max_target_length
    examples: list[Example] = []
    truncated = chunked = 0
    for position, row in enumerate(dataset.rows):
        progress.made()
        try:
            parts = encoder.all_of(row)
        except TooLong as error:
            raise BadInput(too_long(dataset, position, error)) from error
        completion = completions[row.target]
        if limit is not None and len(completion) > limit:
            raise BadInput(_target_too_long(dataset, position, len(completion), limit))
        truncated += parts[0].truncated
        chunked += len(parts) > 1
        if profiler is not None:
            profiler.add(*parts)
        found = _examples(row, position, encoder, parts, completion)
        if not found:
            raise BadInput(_nothing_to_tag(dataset, position))
        examples += found
    return Encoding(dataset, tuple(examples), truncated, chunked)


def _examples(
    row: AnyRow, position: int, encoder: Encoder, parts: Sequence[Encoded], completion: tuple[int, ...]
) -> list[Example]:
    """Return an example for each part of a row; where tokens have tags, for each part in which there is one."""
    if not isinstance(row, Words | Marked):
        return [Example(part.ids, completion, row=position) for part in parts]
    tags = iter(alignment.tags(row, list(chain(*alignment.places_of_all(encoder, parts)))))
    each = [Example(part.ids, completion, tuple(islice(tags, len(part.ids))), row=position) for part in parts]
    return [example for example in each if any(example.tags)]


def _nothing_to_tag(dataset: Dataset, position: int) -> Problem:
    return Problem.of(
        "EmptyText",
        f"the base's tokenizer leaves nothing of row {dataset.rows[position].number} that could have a tag.",
        field=dataset.field,
        value=dataset.place(position),
        remedy="Remove the row, or select a base whose tokenizer knows its characters.",
    )


def too_long(dataset: Dataset, position: int, error: TooLong, what: str = "prompt") -> Problem:
    """Return what is wrong with a row one of whose texts is too long."""
    return Problem.of(
        "RowTooLong",
        f"the {what} of row {dataset.rows[position].number} has {error.tokens} tokens, and tokenization.maxLength is"
        f" {error.limit}.",
        field=dataset.field,
        value=dataset.place(position),
        remedy="Raise tokenization.maxLength, set tokenization.overflow to Truncate, or shorten the row or the prompt.",
    )


def _target_too_long(dataset: Dataset, position: int, tokens: int, limit: int) -> Problem:
    return Problem.of(
        "TargetTooLong",
        f"the target of row {dataset.rows[position].number} has {tokens} tokens with its end, and"
        f" tokenization.maxTargetLength is {limit}; a target is never cut.",
        field=dataset.field,
        value=dataset.place(position),
        remedy="Raise tokenization.maxTargetLength, or shorten or remove the row.",
    )
