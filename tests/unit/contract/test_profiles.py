"""Counts of texts: bounded, the same everywhere, and added as if all had been counted at once."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.profiles import BUCKETS, Profile, Profiler, bucket, length_bounds, text_tokens
from stagecoach.contract.prompts import Encoded

FRAME = (1, 5, 6, 2, 1, 9)
LIMIT = 40

tokens = st.integers(0, 250_000)
texts = st.lists(tokens, max_size=LIMIT - len(FRAME))
prompts = st.lists(st.builds(lambda text, cut: encoded(text, cut=cut), texts, st.booleans()), max_size=20)


def encoded(text: Sequence[int], *, cut: bool = False) -> Encoded:
    return Encoded((*FRAME[:4], *text, *FRAME[4:]), "", truncated=cut)


def profile_of(found: Iterable[Encoded], limit: int = LIMIT) -> Profile:
    profiler = Profiler(FRAME, limit)
    for each in found:
        profiler.add(each)
    return profiler.profile()


@given(prompts, prompts, prompts)
def test_merging_parts_equals_the_whole(one: list[Encoded], two: list[Encoded], three: list[Encoded]) -> None:
    whole = profile_of([*one, *two, *three])
    assert profile_of(one) + profile_of(two) + profile_of(three) == whole
    assert profile_of(three) + (profile_of(two) + profile_of(one)) == whole
    assert profile_of([]) + whole == whole


@given(prompts)
def test_everything_is_counted_once(found: list[Encoded]) -> None:
    profile = profile_of(found)
    assert profile.prompts == sum(profile.lengths) == len(found)
    assert sum(profile.vocabulary) == sum(len(each.ids) - len(FRAME) for each in found)
    assert profile.lengths[-1] == sum(each.truncated for each in found)
    assert Profile.model_validate_json(profile.line()) == profile


@given(st.lists(tokens), st.lists(tokens), st.lists(tokens))
def test_the_frame_is_not_counted(before: list[int], text: list[int], after: list[int]) -> None:
    assert Counter(text_tokens([*before, *text, *after], [*before, *after])) == Counter(text)


@pytest.mark.parametrize(
    ("ids", "frame", "expected"),
    [
        ([1, 7, 2], [1, 2], [7]),
        ([1, 2], [1, 2], []),
        ([1, 7, 2], [1, 3, 2], [7]),  # a token at the text's edge that another takes the place of
        ([7, 8], [], [7, 8]),
        ([], [1], []),
    ],
)
def test_the_tokens_of_a_text(ids: list[int], frame: list[int], expected: list[int]) -> None:
    assert text_tokens(ids, frame) == expected


@given(st.integers(1, 32768))
def test_the_bins_reach_the_limit_and_are_few(limit: int) -> None:
    bounds = length_bounds(limit)
    assert list(bounds) == sorted(set(bounds))
    assert bounds[-1] == limit
    assert len(bounds) + 1 <= 32


@pytest.mark.parametrize(
    ("length", "cut", "place"),
    [
        *((0, False, 0), (1, False, 0), (2, False, 1), (3, False, 2), (4, False, 3), (5, False, 4), (6, False, 4)),
        *((7, False, 5), (23, False, 8), (24, False, 9), (32, False, 9), (33, False, 10), (34, False, 10)),
        *((34, True, 11), (2, True, 11)),
    ],
)
def test_a_length_comes_into_its_bin(length: int, cut: bool, place: int) -> None:
    assert length_bounds(LIMIT) == (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 40)
    lengths = profile_of([encoded([7] * length, cut=cut)]).lengths
    assert [index for index, count in enumerate(lengths) if count] == [place]


def test_the_bucket_of_a_token_never_changes() -> None:
    assert [bucket(token) for token in (0, 1, 2, 1000, 49151, 151_935)] == [0, 632, 241, 34, 1012, 1017]


@pytest.mark.parametrize("size", [32_000, 49_152, 151_936])
def test_a_vocabulary_is_spread_evenly(size: int) -> None:
    counts = Counter(bucket(token) for token in range(size))
    assert set(counts) == set(range(BUCKETS))
    assert max(counts.values()) - min(counts.values()) <= 4


def test_counts_by_other_rules_are_not_added() -> None:
    with pytest.raises(ValueError, match="40 and 41 tokens"):
        profile_of([]) + profile_of([], limit=41)


def test_a_profile_is_small_however_much_was_counted() -> None:
    profile = profile_of([])
    large = profile.model_copy(update={"vocabulary": (10**12,) * BUCKETS, "lengths": (10**12,) * len(profile.lengths)})
    assert len(large.line()) < 20_000
