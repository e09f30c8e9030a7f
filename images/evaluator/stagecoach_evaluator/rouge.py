"""ROUGE by its definition: F1 of the words, the pairs of words and the longest common subsequence of two texts.

Of texts in ASCII every number is that of the package rouge-score without stemming, which drops all other letters: a
text in Greek or Chinese would be empty to it. Here a word is letters, marks and digits of any script, and of scripts
that are written without spaces each character is a word.
"""

from collections import Counter
from collections.abc import Sequence

import regex

_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[{_SPACELESS}]\p{{M}}*|[\p{{L}}\p{{N}}\p{{M}}--[{_SPACELESS}]]+", regex.VERSION1)


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return [str(word) for word in _WORD.findall(text.lower())]


def overlap(expected: Sequence[str], written: Sequence[str], length: int) -> float:
    """Return ROUGE-N of n-grams of this length."""
    one, other = (
        Counter(zip(*(words[start:] for start in range(length)), strict=False)) for words in (expected, written)
    )
    return _f1((one & other).total(), one.total(), other.total())


def longest(expected: Sequence[str], written: Sequence[str]) -> float:
    """Return ROUGE-L."""
    return _f1(_common(expected, written), len(expected), len(written))


def _f1(common: int, expected: int, written: int) -> float:
    return 2 * common / (expected + written) if common else 0.0


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence; a bit for each word of the first (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(one)) - 1
    row = everything
    for word in other:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(one) - row.bit_count()
