"""How like their targets texts are: how many are the same, and chrF (Popović 2015).

chrF counts pieces of characters and so is of use in every language and script, and for summaries and translations
alike; ROUGE and BLEU rest on words, which have to be told apart by each language's own rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu import CHRF


@dataclass(frozen=True)
class Likeness:
    """The share of texts that are their targets, white space aside, from 0 to 1; and chrF of all, from 0 to 100."""

    exact_match: float
    chrf: float


def likeness(texts: Sequence[str], targets: Sequence[str]) -> Likeness:
    """Compare texts with their targets."""
    same = sum(text.split() == target.split() for text, target in zip(texts, targets, strict=True))
    return Likeness(same / len(targets), CHRF().corpus_score(list(texts), [list(targets)]).score)


def table(rows: int, base: Likeness, tuned: Likeness, name: str) -> str:
    """Return both as plain text; `name` is what was trained: adapter or model."""
    return "\n".join(
        (
            f"{'':11}  {'rows':>6}  {'base':>6}  {name:>7}",
            f"{'exact match':11}  {rows:>6}  {base.exact_match:>6.3f}  {tuned.exact_match:>7.3f}",
            f"{'chrF':11}  {rows:>6}  {base.chrf:>6.1f}  {tuned.chrf:>7.1f}",
        )
    )


def numbers(rows: int, base: Likeness, tuned: Likeness, name: str) -> dict[str, Any]:
    """Return both for programs."""
    return {
        "exactMatch": {"rows": rows, "base": base.exact_match, name: tuned.exact_match},
        "chrf": {"rows": rows, "base": base.chrf, name: tuned.chrf},
    }
