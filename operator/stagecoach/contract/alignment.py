"""From a row's words or spans to a tag for each token, and back: the one implementation for training and use.

A token lies where its characters are in the row's text, white space at its ends not counted. What has no place there,
the template's tokens and the tokenizer's own, has no tag. Of a word, the first token has its tag, and the others have
none. Of a span, the first token has B- and the others I-, also a token of which only a part is in the span; a token
with parts of two words or spans is of the first. Outside of spans a token has O, and outside of words none. A word or
span that has no token of its own is not learned, and not found.

Of a text that is read in chunks, every token has its tag from one chunk, that in which it is further from an end of the
chunk, or the later one where it is as far. In the other one it has no place: it is read, and neither learned nor asked.
The tokens of all chunks, one after the other, are then tokens of one text.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from stagecoach.contract.entities import entities
from stagecoach.contract.prompts import PLACEHOLDER, Encoded, Encoder
from stagecoach.contract.tagged import OUTSIDE, Marked, Span, Words, spans_as_tags, without_space

Place = tuple[int, int]
Places = Sequence[Place | None]


def places(encoder: Encoder, encoded: Encoded) -> tuple[Place | None, ...]:
    """Return where in the row's text each token of a prompt lies; None for a token that has no tag.

    Raises ValueError for a prompt that was not made of a row with tags: nobody has looked where its tokens are.
    """
    if encoded.offsets is None or len(encoded.offsets) != len(encoded.ids):
        raise ValueError("the prompt does not say where each of its tokens is")
    before = encoder.prompt.template.index(PLACEHOLDER)
    return tuple(_place(start - before, end - before, encoded) for start, end in encoded.offsets)


def _place(start: int, end: int, encoded: Encoded) -> Place | None:
    text, shift = encoded.kept, encoded.start
    start, end = max(0, start), min(end, len(text))
    if start >= end:
        return None
    begin, stop = without_space(start, end, text)
    return (shift + begin, shift + stop) if begin < stop else (shift + start, shift + end)


def places_of_all(encoder: Encoder, chunks: Sequence[Encoded]) -> list[Places]:
    """Return where in the row's text the tokens of each of its chunks lie; a token of two has a place in one."""
    each = [places(encoder, chunk) for chunk in chunks]
    borders = [0]
    for (one, other), later in zip(pairwise(each), chunks[1:], strict=True):
        # Between the tokens that both have, where they split alike.
        both = sorted({place[0] for place in one if place} & {place[0] for place in other if place})
        borders.append(max(borders[-1], both[len(both) // 2] if both else later.start))
    ends = [*borders[1:], len(chunks[-1].kept) + chunks[-1].start]
    return [
        [place if place and begin <= place[0] < end else None for place in where]
        for where, begin, end in zip(each, borders, ends, strict=True)
    ]


def tags(row: Words | Marked, where: Places) -> tuple[str | None, ...]:
    """Return the tag of each token; None for one that has none."""
    owners = _owners(row, where)
    if isinstance(row, Words):
        return tuple(None if number is None else row.tags[number] for number in _firsts(owners))
    return tuple(
        None if place is None else _tag(row, owner, first)
        for place, owner, first in zip(where, owners, _firsts(owners), strict=True)
    )


def _tag(row: Marked, owner: int | None, first: int | None) -> str:
    if owner is None:
        return OUTSIDE
    return f"{'I' if first is None else 'B'}-{row.spans[owner].label}"


def found(row: Words | Marked, where: Places, chosen: Sequence[str]) -> set[Span]:
    """Return what the tags that were chosen for the tokens say is in the row."""
    if isinstance(row, Words):
        return set(entities(answered(row, where, chosen)))
    tagged = [(place, tag) for place, tag in zip(where, chosen, strict=True) if place is not None]
    said = {
        Span(*without_space(tagged[span.start][0][0], tagged[span.end - 1][0][1], row.text), span.label)
        for span in entities([tag for _, tag in tagged])
    }
    return {span for span in said if span.start < span.end}


def answered(row: Words | Marked, where: Places, chosen: Sequence[str]) -> tuple[str, ...]:
    """Return the tags that were chosen for the tokens as those of the row's units; see `expected`.

    A word without a token of its own has O.
    """
    if isinstance(row, Marked):
        return spans_as_tags(found(row, where, chosen), len(row.text))
    by_word = _by_word(row, where, chosen)
    return tuple(by_word.get(number, OUTSIDE) for number in range(len(row.tokens)))


def expected(row: Words | Marked) -> tuple[str, ...]:
    """Return the tags of the row's units: its words or, where spans are marked, the characters of its text."""
    return row.tags if isinstance(row, Words) else spans_as_tags(row.spans, len(row.text))


def _by_word(row: Words, where: Places, chosen: Sequence[str]) -> dict[int, str]:
    firsts = _firsts(_owners(row, where))
    return {number: tag for number, tag in zip(firsts, chosen, strict=True) if number is not None}


def given(row: Words | Marked) -> set[Span]:
    """Return what is in the row, as `found` returns it. What was cut off is in it, and cannot be found."""
    return set(entities(row.tags) if isinstance(row, Words) else row.spans)


def _owners(row: Words | Marked, where: Places) -> list[int | None]:
    """Return in which word or span each token lies, the first one where there are two."""
    borders = row.places
    ends = [end for _, end in borders]
    owners: list[int | None] = []
    for place in where:
        number = bisect_right(ends, place[0]) if place else len(borders)
        inside = place is not None and number < len(borders) and borders[number][0] < place[1]
        owners.append(number if inside else None)
    return owners


def _firsts(owners: Sequence[int | None]) -> list[int | None]:
    """Return the word or span of which each token is the first."""
    last: int | None = None
    found: list[int | None] = []
    for owner in owners:
        found.append(None if owner == last else owner)
        last = last if owner is None else owner
    return found
