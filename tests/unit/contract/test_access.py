"""Which Secret opens which place."""

import pytest

from stagecoach.contract.access import Access, Credential, read_access, secret_of, used

CREDENTIALS = (
    Credential(match="s3://", secret="any"),
    Credential(match="s3://lake", secret="lake"),
    Credential(match="s3://lake/private/", secret="private"),
    Credential(match="s3://lake/private/one.csv", secret="one"),
)


@pytest.mark.parametrize(
    ("uri", "secret"),
    [
        ("s3://lake", "lake"),
        ("s3://lake/a.csv", "lake"),
        ("s3://lakehouse/a.csv", "any"),
        ("s3://lake/private", "private"),
        ("s3://lake/privateer", "lake"),
        ("s3://lake/private/a.csv", "private"),
        ("s3://lake/private/one.csv", "one"),
        ("s3://lake/private/one.csv.gz", "private"),
        ("pvc://lake/a.csv", None),
        ("configmap://lake/a.csv", None),
    ],
)
def test_the_longest_beginning_counts_in_whole_segments(uri: str, secret: str | None) -> None:
    assert secret_of(uri, CREDENTIALS) == secret
    assert secret_of(uri, CREDENTIALS[::-1]) == secret


def test_what_no_uri_needs_is_not_used() -> None:
    uris = ("pvc://store", "s3://lake/b", "s3://lake/a", "s3://lake/private/x")
    assert used(uris, CREDENTIALS) == ("lake", "private")
    assert used(uris, ()) == ()


def test_a_pod_that_was_told_nothing_has_its_storage_mounted() -> None:
    assert read_access({}) == Access()
    told = Access(storage="s3://lake", credentials=CREDENTIALS)
    assert read_access({"STAGECOACH_ACCESS": told.line()}) == told
