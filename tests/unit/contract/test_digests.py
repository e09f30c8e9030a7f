"""Identities do not depend on the order of files or keys, and do depend on everything else."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract.digests import Manifest, digest_of_document, file_entry, short
from stagecoach.contract.model import canonical_json

FILES = st.dictionaries(st.text("abc/.", min_size=1, max_size=8), st.binary(max_size=20), max_size=4)


def manifest(files: dict[str, bytes]) -> Manifest:
    return Manifest.of(file_entry(path, io.BytesIO(content)) for path, content in files.items())


@given(FILES)
def test_the_order_of_files_does_not_matter(files: dict[str, bytes]) -> None:
    assert manifest(files).digest == manifest(dict(reversed(files.items()))).digest
    assert manifest(files).size == sum(map(len, files.values()))


@given(FILES, FILES)
def test_other_files_have_another_digest(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (manifest(one).digest == manifest(other).digest) == (one == other)


def test_a_digest_is_what_it_has_always_been() -> None:
    # Storage outlives versions of this program: these values may never change.
    assert short(manifest({"rows.csv": b"text,label\n"}).digest) == "b92016f84281"
    assert short(digest_of_document({"b": [1, 2.5], "a": "ü"})) == "75151e181452"


def test_numbers_without_a_json_form_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})
