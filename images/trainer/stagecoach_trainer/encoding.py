"""All rows of a data set as tokens."""

from dataclasses import dataclass

from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoder, TooLong
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer.sources import Dataset


@dataclass(frozen=True)
class Example:
    """One row: tokens of the prompt and of the completion; or of query, positive and maybe negative."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    negative: tuple[int, ...] = ()


@dataclass(frozen=True)
class Encoding:
    """A data set as tokens, and how many of its rows were cut."""

    dataset: Dataset
    examples: tuple[Example, ...]
    truncated: int


def encode(dataset: Dataset, encoder: Encoder, profiler: Profiler | None = None) -> Encoding:
    """Tokenize every row, and have the profiler, if any, count its prompt.

    Raises BadInput for a prompt that is too long and may not be cut, or a target too long.
    """
    completions = {target: encoder.completion(target) for target in {row.target for row in dataset.rows}}
    limit = encoder.tokenization.max_target_length
    examples, truncated = [], 0
    for row in dataset.rows:
        try:
            encoded = encoder.of(row)
        except TooLong as error:
            raise BadInput(too_long(dataset, row.number, error)) from error
        completion = completions[row.target]
        if limit is not None and len(completion) > limit:
            raise BadInput(_target_too_long(dataset, row.number, len(completion), limit))
        truncated += encoded.truncated
        if profiler is not None:
            profiler.add(encoded)
        examples.append(Example(encoded.ids, completion))
    return Encoding(dataset, tuple(examples), truncated)


def too_long(dataset: Dataset, number: int, error: TooLong, what: str = "prompt") -> Problem:
    """Return what is wrong with a row one of whose texts is too long."""
    file = dataset.source.uri.rpartition("/")[2]
    return Problem.of(
        "RowTooLong",
        f"the {what} of row {number} has {error.tokens} tokens, and tokenization.maxLength is {error.limit}.",
        field=dataset.field,
        value=f"{file}:{number}",
        remedy="Raise tokenization.maxLength, set tokenization.overflow to Truncate, or shorten the row or the prompt.",
    )


def _target_too_long(dataset: Dataset, number: int, tokens: int, limit: int) -> Problem:
    file = dataset.source.uri.rpartition("/")[2]
    return Problem.of(
        "TargetTooLong",
        f"the target of row {number} has {tokens} tokens with its end, and tokenization.maxTargetLength is {limit}; a"
        " target is never cut.",
        field=dataset.field,
        value=f"{file}:{number}",
        remedy="Raise tokenization.maxTargetLength, or shorten or remove the row.",
    )
