"""The rows of an Embedding as tokens: queries, and passages by a template of their own."""

from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoded, Encoder, TooLong, for_passages
from stagecoach.contract.reports import BadInput
from stagecoach.contract.rows import Match
from stagecoach_trainer.encoding import Encoding, Example, too_long
from stagecoach_trainer.sources import Dataset


def encode(dataset: Dataset, queries: Encoder, profiler: Profiler | None = None) -> Encoding:
    """Tokenize every row, and have the profiler, if any, count its query: passages are not what production is asked.

    Raises BadInput for a text that is too long and may not be cut.
    """
    passages = for_passages(queries)
    examples, truncated = [], 0
    for row in dataset.matches:
        texts = {"query": _encoded(queries, row.query, "query", row, dataset)}
        texts["positive"] = _encoded(passages, row.positive, "positive", row, dataset)
        if row.negative is not None:
            texts["negative"] = _encoded(passages, row.negative, "negative", row, dataset)
        truncated += any(text.truncated for text in texts.values())
        if profiler is not None:
            profiler.add(texts["query"])
        examples.append(Example(*(text.ids for text in texts.values())))
    return Encoding(dataset, tuple(examples), truncated)


def _encoded(encoder: Encoder, text: str, use: str, row: Match, dataset: Dataset) -> Encoded:
    try:
        return encoder.encode(text)
    except TooLong as error:
        raise BadInput(too_long(dataset, row.number, error, use)) from error
