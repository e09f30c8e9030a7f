"""Merge patches."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stagecoach.runtime.merge import merge_patch
from tests.unit.runtime.fakes import merged

_leaves = st.one_of(st.booleans(), st.integers(), st.sampled_from(["", "x", "ü"]), st.lists(st.integers(), max_size=3))
_names = st.sampled_from(["a", "b", "c"])
_documents = st.dictionaries(
    _names, st.recursive(_leaves, lambda inner: st.dictionaries(_names, inner, max_size=3)), max_size=3
)


def test_nothing_changed_is_nothing_to_send() -> None:
    assert merge_patch({"a": {"b": [1]}}, {"a": {"b": [1]}}) == {}


def test_a_key_that_went_is_null() -> None:
    assert merge_patch({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 1}}) == {"a": None, "b": {"d": None}}


def test_none_means_absent() -> None:
    assert merge_patch({"a": 1}, {"a": None, "b": None}) == {"a": None}
    assert merge_patch({}, {"a": {"b": None, "c": [{"d": None, "e": 1}]}}) == {"a": {"c": [{"e": 1}]}}


def test_lists_go_whole() -> None:
    assert merge_patch({"a": [1, 2]}, {"a": [1]}) == {"a": [1]}


def test_a_new_empty_part_is_sent() -> None:
    assert merge_patch({}, {"a": {}}) == {"a": {}}


@given(before=_documents, after=_documents)
def test_the_patch_makes_the_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_patch(before, after)) == after


@given(document=_documents)
def test_a_document_needs_no_patch_to_itself(document: dict[str, Any]) -> None:
    assert merge_patch(document, document) == {}
