"""The metrics of an Embedding: trec_eval's measures, of one passage that answers each query, by its rank."""

from collections.abc import Sequence

import numpy as np

from stagecoach.contract.answers import Answer
from stagecoach.contract.metrics import Metric, cut
from stagecoach_evaluator.intervals import Undefined
from stagecoach_evaluator.samples import Hits, Sample, Sums, Table


class Ranked:
    """At which rank each row's passage was found, by each release."""

    def __init__(self, expected: Sequence[str], answers: Sequence[Sequence[Answer]], key: str, most: int) -> None:
        self._passages = len(set(expected))
        self._ranks = [np.array([answer.rank or np.inf for answer in each], float) for each in answers]
        self._key, self._most = key, most

    def sample(self, metric: Metric, _label: None) -> Sample:
        """Return what the metric is computed from. Raises Undefined where most passages would be found by chance."""
        kind, k = cut(metric.name) or ("mrr", 0)
        if kind == "recall":
            if 2 * k > self._passages:
                chance = min(1.0, k / self._passages)
                why = f"of {self._passages:,} passages {chance:.0%} are among the first {k}, in whatever order."
                raise Undefined(why, "Choose a k of at most half the passages, or give the suite more of them.")
            return Hits(tuple(ranks <= k for ranks in self._ranks))
        each = [np.where(ranks <= k, 1 / np.log2(1 + ranks), 0) if k else 1 / ranks for ranks in self._ranks]
        parts = tuple(np.stack([numbers, np.ones_like(numbers)], axis=1) for numbers in each)
        table = Table.of(parts, self._key, self._most)
        return Sums(metric, table, lambda sums: sums[0] / sums[1], table.rows)
