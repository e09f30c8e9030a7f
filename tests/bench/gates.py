"""How often a gate errs: many simulated gates whose truth is known, judged by the evaluator's own code.

    python -m tests.bench.gates --gates 2000 --seed 1

A population has 77 labels of unequal frequency and difficulty. Baseline and candidate choose labels with known
probabilities, and so it is known by how much the candidate is better or worse in all rows that there might ever be. A gate
sees a few of them. An error is to admit what is worse by the margin, or to refuse what is as good as the baseline.
"""

import argparse
import multiprocessing
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stagecoach.contract.answers import Answer
from stagecoach.contract.evaluations import Criterion, EvaluationInputs, Reference, Suite, SuiteType
from stagecoach.contract.inputs import Columns, DataInput
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator.criteria import judge
from stagecoach_evaluator.measured import Measured, SuiteAnswers

LABELS = 77
NAMES = tuple(f"intent-{number:02}" for number in range(LABELS))
MARGIN = 0.03
RESAMPLES = 500
ROWS = (200, 1000, 3000)
METRICS = ("accuracy", "f1_macro")
BASES = (0.70, 0.85, 0.95)
# What is true of the candidate, and what is then an error.
TRUTHS = {
    "as good as the baseline, allowedDrop 0.03": Verdict.FAILED,
    "worse by 0.03, allowedDrop 0.03": Verdict.PASSED,
    "better by 0.03, minGain 0.03": Verdict.FAILED,
    "as good as the baseline, minGain 0.03": Verdict.PASSED,
    "exactly at min, confidence 0.95": Verdict.PASSED,
}
# Few labels, of which one has next to no rows, and is right less often than the others: exactly at min, too.
RARE: dict[str, tuple[int, ...]] = {"recall": (300, 180, 5), "auc_roc": (500, 5)}
RARELY = 0.6
_AT_MIN = "exactly at min, rows by label "
_WRONG = (0.6, 0.3, 0.1)
_CHURN = 0.3  # of the rows that the baseline gets wrong, the candidate gets so many right: and others wrong
# There are millions of answers, and their row is of no account.
_SAID = tuple(Answer(row=0, label=name) for name in NAMES)
_DIGEST = "sha256:" + "0" * 64

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """How often each label is expected, and how often one of two releases gets it right."""

    share: Numbers
    right: Numbers

    @classmethod
    def of(cls, accuracy: float) -> "Population":
        """Return one with this accuracy: frequencies from 1 to 14, and labels that are harder than others."""
        share = 1 / (np.arange(LABELS) + 6)
        share /= share.sum()
        spread = np.random.default_rng(77).normal(0, 0.4 * (1 - accuracy), LABELS)
        right = np.clip(accuracy + spread - share @ spread, 0.02, 0.9995)
        return cls(share, right)

    def value(self, metric: str, right: Numbers) -> float:
        """Return the metric of who gets the labels right so often, over all rows that there might be."""
        if metric == "accuracy":
            return float(self.share @ right)
        table = np.diag(self.share * right)
        for wrong, likely in zip(_near().T, _WRONG, strict=True):
            table[np.arange(LABELS), wrong] += self.share * (1 - right) * likely
        return float((2 * np.diag(table) / (table.sum(axis=0) + table.sum(axis=1))).mean())

    def losing(self, metric: str, drop: float) -> Numbers:
        """Return how often the other release gets wrong what this one gets right, so that it is worse by so much."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            lost = self.value(metric, self.right) - self.value(metric, self.other(self._lose(middle)))
            low, high = (middle, high) if lost < drop else (low, middle)
        return self._lose(low)

    def other(self, lose: Numbers) -> Numbers:
        """Return how often the other release gets each label right."""
        return self.right * (1 - lose) + (1 - self.right) * _CHURN

    def _lose(self, more: float) -> Numbers:
        return np.clip((1 - self.right) * _CHURN / self.right + more, 0, 1)

    def draw(self, rows: int, lose: Numbers, random: np.random.Generator) -> tuple[Codes, Codes, Codes]:
        """Return what is expected, what this release answers, and what the other one."""
        expected = random.choice(LABELS, rows, p=self.share)
        right, luck = random.random(rows) < self.right[expected], random.random(rows)
        also = np.where(right, luck >= lose[expected], luck < _CHURN)
        wrong, other = (_near()[expected, random.choice(len(_WRONG), rows, p=_WRONG)] for _ in range(2))
        other = np.where(random.random(rows) < 0.5, wrong, other)
        return expected, np.where(right, expected, wrong), np.where(also, expected, other)


def _near() -> Codes:
    return np.asarray((np.arange(LABELS)[:, None] + np.array([1, 3, 9])) % LABELS)


class Cell(NamedTuple):
    """A row of the table."""

    truth: str
    metric: str
    rows: int


def verdicts(cell: Cell, accuracy: float, gates: int, seed: list[int]) -> Counter[Verdict]:
    """Return what came of so many gates."""
    population, random = Population.of(accuracy), np.random.default_rng(seed)
    lose = population.losing(cell.metric, 0.0 if cell.truth.startswith(("as good", "exactly")) else MARGIN)
    criterion = _criterion(cell, population.value(cell.metric, population.right))
    inputs = _inputs(criterion)
    found: Counter[Verdict] = Counter()
    for gate in range(gates):
        expected, one, worse = population.draw(cell.rows, lose, random)
        answers = _answers(expected, *((worse, one) if cell.truth.startswith("worse") else (one, worse)))
        measured = Measured("Classification", NAMES, {"held-out": answers}, f"{seed} {gate}", RESAMPLES)
        found[judge(inputs, measured)[1]] += 1
    return found


def rare(cell: Cell, accuracy: float, gates: int, seed: list[int]) -> Counter[Verdict]:
    """Return what came of so many gates of labels with unequal numbers of rows."""
    counts, random = RARE[cell.metric], np.random.default_rng(seed)
    names, codes = NAMES[: len(counts)], np.repeat(np.arange(len(counts)), counts)
    right = np.array([accuracy] * (len(counts) - 1) + [RARELY])
    # A rare row is above all others, or below them.
    value = RARELY if cell.metric == "auc_roc" else float(right.mean())
    criterion = Criterion(name="good", suite="held-out", metric=cell.metric, min=value, confidence=0.95)
    found: Counter[Verdict] = Counter()
    for gate in range(gates):
        hits = random.random(codes.size) < right[codes]
        if cell.metric == "auc_roc":
            scores = np.where(codes == 0, random.uniform(0.2, 0.8, codes.size), np.where(hits, 0.9, 0.1))
            said = [Answer(row=0, label=names[0], scores=(1 - score, score)) for score in scores]
        else:
            said = [_SAID[code] for code in np.where(hits, codes, (codes + 1) % len(counts))]
        answers = SuiteAnswers([NAMES[code] for code in codes], said, None, ())
        measured = Measured("Classification", names, {"held-out": answers}, f"{seed} {gate}", RESAMPLES)
        found[judge(_inputs(criterion), measured)[1]] += 1
    return found


def _inputs(criterion: Criterion) -> EvaluationInputs:
    suite = Suite(name="held-out", type=SuiteType.HELD_OUT, data=_DIGEST, columns=Columns())
    return EvaluationInputs(
        release=_DIGEST,
        baseline=_DIGEST,
        suites=(suite,),
        criteria=(criterion,),
        min_scored=1,
        trained_on=(DataInput(digest=_DIGEST, columns=Columns()),),
    )


def _criterion(cell: Cell, value: float) -> Criterion:
    if "at min" in cell.truth:
        return Criterion(name="good", suite="held-out", metric=cell.metric, min=value, confidence=0.95)
    drop, gain = (MARGIN, None) if "allowedDrop" in cell.truth else (None, MARGIN)
    return Criterion(
        name="good",
        suite="held-out",
        metric=cell.metric,
        against=Reference.BASELINE,
        allowed_drop=drop,
        min_gain=gain,
    )


def _answers(expected: Codes, candidate: Codes, baseline: Codes) -> SuiteAnswers:
    return SuiteAnswers(
        [NAMES[code] for code in expected], [_SAID[code] for code in candidate], [_SAID[code] for code in baseline], ()
    )


def _work(work: tuple[Cell, float, int, list[int]]) -> tuple[Cell, Counter[Verdict]]:
    return work[0], (rare if work[0].truth.startswith(_AT_MIN) else verdicts)(*work)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gates", type=int, default=2000, help="gates for each row of the table")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--metric", action="append", choices=(*METRICS, *RARE), help="of this metric alone")
    given = parser.parse_args()
    chosen = given.metric or (*METRICS, *RARE)
    cells = [Cell(truth, metric, rows) for truth in TRUTHS for metric in METRICS if metric in chosen for rows in ROWS]
    cells += [
        Cell(f"{_AT_MIN}{', '.join(map(str, counts))}", metric, sum(counts))
        for metric, counts in RARE.items()
        if metric in chosen
    ]
    part = -(-given.gates // len(BASES))
    work = [
        (cell, base, part, [given.seed, number, place])
        for number, cell in enumerate(cells)
        for place, base in enumerate(BASES)
    ]
    found: dict[Cell, Counter[Verdict]] = {cell: Counter() for cell in cells}
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for cell, counts in pool.imap_unordered(_work, work):
            found[cell] += counts
            print(*cell, dict(counts), flush=True)
    print(table(found))


def table(found: dict[Cell, Counter[Verdict]]) -> str:
    """Return it as Markdown."""
    lines = [
        "| the candidate | metric | rows | gates | in error | Passed | Inconclusive | Failed |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for cell, counts in found.items():
        total = counts.total()
        shares = [
            f"{100 * counts[each] / total:.1f} %" for each in (Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED)
        ]
        error = f"**{100 * counts[TRUTHS.get(cell.truth, Verdict.PASSED)] / total:.1f} %**"
        lines.append(f"| {cell.truth} | {cell.metric} | {cell.rows:,} | {total:,} | {error} | {' | '.join(shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
