"""All rows of a data set as tokens."""

from dataclasses import dataclass

from stagecoach.contract import alignment
from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoded, Encoder, TooLong
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.tagged import Marked, Words
from stagecoach_trainer.sources import Dataset


@dataclass(frozen=True)
class Example:
    """One row: tokens of the prompt and of the completion; or a tag for some tokens of the prompt; or tokens of query,
    positive and maybe negative.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    tags: tuple[str | None, ...] = ()
    negative: tuple[int, ...] = ()


@dataclass(frozen=True)
class Encoding:
    """A data set as tokens, and how many of its rows were cut."""

    dataset: Dataset
    examples: tuple[Example, ...]
    truncated: int


def encode(dataset: Dataset, encoder: Encoder, profiler: Profiler | None = None) -> Encoding:
    """Tokenize every row, and have the profiler, if any, count its prompt.

    Raises BadInput for a prompt that is too long and may not be cut, a target too long, or nothing to tag.
    """
    completions = {target: encoder.completion(target) for target in {row.target for row in dataset.rows}}
    limit = encoder.tokenization.max_target_length
    examples, truncated = [], 0
    for position, row in enumerate(dataset.rows):
        try:
            encoded = encoder.of(row)
        except TooLong as error:
            raise BadInput(too_long(dataset, position, error)) from error
        completion = completions[row.target]
        if limit is not None and len(completion) > limit:
            raise BadInput(_target_too_long(dataset, position, len(completion), limit))
        truncated += encoded.truncated
        if profiler is not None:
            profiler.add(encoded)
        examples.append(Example(encoded.ids, completion, _tags(dataset, position, encoder, encoded)))
    return Encoding(dataset, tuple(examples), truncated)


def _tags(dataset: Dataset, position: int, encoder: Encoder, encoded: Encoded) -> tuple[str | None, ...]:
    row = dataset.rows[position]
    if not isinstance(row, Words | Marked):
        return ()
    tags = alignment.tags(row, alignment.places(encoder, encoded))
    if not any(tags):
        raise BadInput(_nothing_to_tag(dataset, position))
    return tags


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
