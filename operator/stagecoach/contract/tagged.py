"""Rows of a TokenClassification: words with a tag each, or a text with spans marked in it. Checked strictly."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

from stagecoach.contract.cells import BadCell, is_text, shown

OUTSIDE = "O"


class Span(NamedTuple):
    """What is marked, from its first place up to, and without, the end: characters of a text, or words of a row."""

    start: int
    end: int
    label: str


class Words(NamedTuple):
    """One example: words, the tag of each as it was given, and its row number."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    number: int

    @property
    def text(self) -> str:
        """What is read: the words with a space between each two."""
        return " ".join(self.tokens)

    @property
    def target(self) -> str:
        """What is to be chosen."""
        return " ".join(self.tags)

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Where in the text the words are."""
        found, start = [], 0
        for token in self.tokens:
            found.append((start, start + len(token)))
            start += len(token) + 1
        return tuple(found)


class Marked(NamedTuple):
    """One example: a text, what is marked in it in the order of the text, and its row number.

    No span begins or ends with white space: that is left out, whoever marked it.
    """

    text: str
    spans: tuple[Span, ...]
    number: int

    @property
    def target(self) -> str:
        """What is to be chosen."""
        return " ".join(span.label for span in self.spans)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that its tokens may need."""
        return bio(span.label for span in self.spans)

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Where in the text the spans are."""
        return tuple((span.start, span.end) for span in self.spans)


def bio(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the tags for spans of these labels: O, and for each label, in code point order, B- and I-."""
    return (OUTSIDE, *(f"{prefix}-{label}" for label in sorted(set(labels)) for prefix in "BI"))


def spans_as_tags(spans: Iterable[Span], units: int) -> tuple[str, ...]:
    """Return spans that do not overlap as a tag for each unit that they count by."""
    tags = [OUTSIDE] * units
    for span in spans:
        tags[span.start : span.end] = [f"B-{span.label}", *[f"I-{span.label}"] * (span.end - span.start - 1)]
    return tuple(tags)


def words(tokens: Any, tags: Any, number: int) -> Words:
    """Return a row of words and tags. Raises BadCell."""
    each = [_texts(values, what) for values, what in ((tokens, "word"), (tags, "tag"))]
    if len(each[0]) != len(each[1]):
        _refuse(f"there are {len(each[0])} words and {len(each[1])} tags.", "Give every word one tag.")
    return Words(each[0], each[1], number)


def _texts(values: Any, what: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not values:
        remedy = f'Write a list of strings, such as ["…", "…"], with a {what} for each word, or remove the row.'
        _refuse(f"the {what}s are {shown(values)}, which is not a list with something in it.", remedy)
    for place, value in enumerate(values, start=1):
        if not is_text(value):
            message = f"{what} {place} is {shown(value)}, which is not a string of Unicode characters."
            _refuse(message, "Write it as a string in quotes; a number stands for a name, which is to be written.")
        if not value.strip():
            _refuse(f"{what} {place} is empty.", f"Give it a {what}, or remove the word and its tag.")
    return tuple(values)


def marked(text: str, spans: Any, number: int) -> Marked:
    """Return a row of a text and its spans, of which there may be none. Raises BadCell."""
    if not isinstance(spans, list):
        remedy = 'Write a list of {"start": …, "end": …, "label": …}; [] where nothing is marked.'
        _refuse_span(f"it holds {shown(spans)}, which is not a list of spans.", remedy)
    found = sorted(_span(item, place, text) for place, item in enumerate(spans, start=1))
    for one, other in pairwise(found):
        if other.start < one.end:
            message = f"the spans from {one.start} to {one.end} and from {other.start} to {other.end} overlap."
            _refuse_span(message, "Keep one of them: a token has one tag.")
    return Marked(text, tuple(found), number)


def _span(item: Any, place: int, text: str) -> Span:
    if not isinstance(item, dict):
        remedy = 'Write every span as {"start": …, "end": …, "label": …}.'
        _refuse_span(f"span {place} is {shown(item)}, not an object.", remedy)
    # A table of spans has all keys in every span, and null where a span has none.
    others = sorted(str(key) for key in item if key not in Span._fields and item[key] is not None)
    if others:
        message = f"span {place} has the keys {', '.join(map(repr, others))[:100]}, of which nothing would be learned."
        _refuse_span(message, "Leave in start, end and label only.")
    found: tuple[Any, ...] = tuple(item.get(key) for key in Span._fields)
    start, end, label = found
    if not is_text(label) or not label.strip():
        message = f"span {place} has the label {shown(label)}, which is not a string with something in it."
        _refuse_span(message, "Write what the span is, as a string in quotes.")
    _check_place(start, end, place, text)
    return Span(*without_space(start, end, text), label)


def without_space(start: int, end: int, text: str) -> tuple[int, int]:
    """Return a part of a text without white space at its ends; nothing, at the end, where there is nothing else."""
    inside = text[start:end]
    begin = end - len(inside.lstrip())
    return begin, begin + len(inside.strip())


def _check_place(start: Any, end: Any, place: int, text: str) -> None:
    remedy = "Count in Unicode characters from 0, the end exclusive: text[start:end] is what is marked."
    for key, value in (("start", start), ("end", end)):
        if not isinstance(value, int) or isinstance(value, bool):
            _refuse_span(f"span {place} has the {key} {shown(value)}, which is not a whole number.", remedy)
    where = f"span {place} is from {shown(start)} to {shown(end)}"
    if not 0 <= start <= end <= len(text):
        _refuse_span(f"{where}, and the text has {len(text)} characters.", remedy)
    if not text[start:end].strip():
        _refuse_span(f"{where}, where there is nothing or white space only.", remedy)


def _refuse(message: str, remedy: str) -> NoReturn:
    raise BadCell("BrokenTags", message, remedy)


def _refuse_span(message: str, remedy: str) -> NoReturn:
    raise BadCell("BrokenSpans", message, remedy)
