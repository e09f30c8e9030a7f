"""The rows of an Embedding as tokens: queries, and passages by a template of their own."""

from stagecoach.contract import progress
from stagecoach.contract.profiles import Profiler
from stagecoach.contract.prompts import Encoded, Encoder, TooLong, for_passages
from stagecoach.contract.reports import BadInput
from stagecoach_trainer.encoding import Encoding, Example, too_long
from stagecoach_trainer.sources import Dataset


def encode(dataset: Dataset, queries: Encoder, profiler: Profiler | None = None) -> Encoding:
    """Tokenize every row, and have the profiler, if any, count its query: passages are not what production is asked.

    Raises BadInput for a text that is too long and may not be cut.
    """
    passages = for_passages(queries)
    examples, truncated = [], 0
    for position, row in enumerate(dataset.matches):
        progress.made()
        query = _encoded(queries, row.query, "query", position, dataset)
        positive = _encoded(passages, row.positive, "positive", position, dataset)
        negative = row.negative and _encoded(passages, row.negative, "negative", position, dataset)
        truncated += any(text.truncated for text in (query, positive, negative) if text)
        if profiler is not None:
            profiler.add(query)
        examples.append(Example(query.ids, positive.ids, negative=negative.ids if negative else (), row=position))
    return Encoding(dataset, tuple(examples), truncated)


def _encoded(encoder: Encoder, text: str, use: str, position: int, dataset: Dataset) -> Encoded:
    try:
        return encoder.encode(text)
    except TooLong as error:
        raise BadInput(too_long(dataset, position, error, use)) from error
