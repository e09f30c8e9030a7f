"""The metrics of tasks that write: BLEU and chrF by sacrebleu, of the whole suite; ROUGE and exact match by row."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from stagecoach.contract.answers import Answer
from stagecoach.contract.metrics import Metric
from stagecoach_evaluator import rouge
from stagecoach_evaluator.intervals import Numbers
from stagecoach_evaluator.samples import Hits, Sample, Sums, Table

_ORDER = 4
# What chrF weighs recall by, squared.
_BETA = CHRF.BETA**2


class Written:
    """What was to be written, and what was, by each release."""

    def __init__(self, expected: Sequence[str], answers: Sequence[Sequence[Answer]], key: str, most: int) -> None:
        self._expected = expected
        self._written = [[answer.text or "" for answer in each] for each in answers]
        self._key, self._most = key, most

    def sample(self, metric: Metric, _label: None) -> Sample:
        """Return what the metric is computed from."""
        if metric.name == "exact_match":
            right = [text.strip() for text in self._expected]
            return Hits(tuple(np.array([one == text.strip() for one, text in pairs]) for pairs in self._pairs(right)))
        return Sums(metric, self._table, _VALUES[metric.name], len(self._expected))

    def _pairs(self, expected: Sequence[Any]) -> Iterator[Iterator[tuple[Any, str]]]:
        return (zip(expected, each, strict=True) for each in self._written)

    @cached_property
    def _table(self) -> Table:
        """What a row adds to BLEU, to chrF and to each ROUGE, side by side: all are resampled together."""
        words = [rouge.words(text) for text in self._expected]
        similar = [
            np.array([_rouges(one, rouge.words(text)) for one, text in pairs], float) for pairs in self._pairs(words)
        ]
        parts = [
            np.hstack([_bleu_rows(self._expected, each), _chrf_rows(self._expected, each), rows])
            for each, rows in zip(self._written, similar, strict=True)
        ]
        return Table.of(tuple(parts), self._key, self._most)


def _rouges(expected: Sequence[str], written: Sequence[str]) -> tuple[float, ...]:
    pairs = (rouge.overlap(expected, written, length) for length in (1, 2))
    return (*pairs, rouge.longest(expected, written), 1.0)


def _bleu_rows(expected: Sequence[str], written: Sequence[str]) -> Numbers:
    bleu = BLEU(effective_order=True)  # of single rows; it changes no count
    found = [bleu.sentence_score(one, [other]) for one, other in zip(written, expected, strict=True)]
    return np.array([[*row.counts, *row.totals, row.sys_len, row.ref_len] for row in found], float)


def _bleu(sums: Numbers) -> Numbers:
    """Return BLEU with sacrebleu's default smoothing: n-grams of a length that are never right count less and less."""
    counts, totals, (written, expected) = sums[:_ORDER], sums[_ORDER : 2 * _ORDER], sums[2 * _ORDER :]
    halved = np.cumsum(counts == 0, axis=0)
    precisions = np.where(counts > 0, counts, 0.5**halved) / np.maximum(totals, 1)
    short = np.exp(np.minimum(1 - expected / np.maximum(written, 1), 0))
    whole = (counts.sum(axis=0) > 0) & (totals > 0).all(axis=0)
    return np.where(whole, 100 * short * np.exp(np.log(precisions).mean(axis=0)), 0.0)


def _chrf_rows(expected: Sequence[str], written: Sequence[str]) -> Numbers:
    # sacrebleu resamples these itself, and shows them to nobody: tests hold them against its score.
    return np.array(CHRF()._extract_corpus_statistics(list(written), [list(expected)]), float)


def _chrf(sums: Numbers) -> Numbers:
    written, expected, matches = sums[0::3], sums[1::3], sums[2::3]
    there = (written > 0) & (expected > 0)
    orders = np.maximum(there.sum(axis=0), 1)
    precision, recall = (
        np.where(there, matches / np.maximum(whole, 1), 0.0).sum(axis=0) / orders for whole in (written, expected)
    )
    both = _BETA * precision + recall
    return np.where(both > 0, 100 * (1 + _BETA) * precision * recall / np.where(both > 0, both, 1), 0.0)


_BLEU, _CHRF = 2 * _ORDER + 2, 3 * CHRF.CHAR_ORDER
_VALUES: dict[str, Callable[[Numbers], Numbers]] = {
    "bleu": lambda sums: _bleu(sums[:_BLEU]),
    "chrf": lambda sums: _chrf(sums[_BLEU : _BLEU + _CHRF]),
    "rouge1": lambda sums: sums[-4] / sums[-1],
    "rouge2": lambda sums: sums[-3] / sums[-1],
    "rougeL": lambda sums: sums[-2] / sums[-1],
}
