"""URIs: what is taken, and that nothing gets out of its folder."""

import posixpath
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.contract import mounts
from stagecoach.contract.uris import MATCH_PATTERN, BadUri, parse

TAKEN = [
    "pvc://store",
    "pvc://store/desk",
    "pvc://my-store.v2/a/b/c_1.csv",
    "configmap://desk/train.csv",
    "configmap://desk/_key-1.jsonl",
    "s3://lake",
    "hf://HuggingFaceTB/SmolLM2-135M-Instruct",
    "hf://datasets/desk/cards",
    "hf://datasets/desk/cards/data/train-00000-of-00001.parquet",
    "https://data.example.com/a/rows.csv",
    "https://data.example.com:8443/rows.jsonl",
    "s3://lake.example/desk/a=1/c_1.csv",
    "gs://lake",
    "gs://data_lake-1.example.com/desk/a=1/c_1.csv",
]

REFUSED = [
    ("", "known kind"),
    ("desk/train.csv", "known kind"),
    ("gcs://lake/train.csv", "known kind"),
    ("gs://lake/../train.csv", "'..'"),
    ("gs://lake/%2e%2e/train.csv", "percent-encoded"),
    ("gs://lake/train.csv#1", "refused"),
    ("gs://key@lake/train.csv", "credentials"),
    ("gs://Lake/train.csv", "refused"),
    ("gs://_lake/train.csv", "refused"),
    ("gs://lake_/train.csv", "refused"),
    ("gs:///train.csv", "refused"),
    ("s3://data_lake/train.csv", "refused"),
    ("s3://key:word@lake/a.csv", "credentials"),
    ("s3://lake/../a.csv", "'..'"),
    ("s3://lake/%2e%2e/a.csv", "percent-encoded"),
    ("s3://lake/a.csv?versionId=1", "refused"),
    ("s3:///a.csv", "refused"),
    ("hf://desk", "refused"),
    ("hf://desk/tiny/file", "refused"),
    ("hf://desk/..", "'..'"),
    ("hf://datasets/desk/cards/", "refused"),
    ("hf://datasets/desk/../a.csv", "'..'"),
    ("hf://datasets/desk/cards/../a.csv", "'..'"),
    ("hf://datasets/desk/cards/a@b/.hidden", "refused"),
    ("hf://desk/tiny@main", "refused"),
    ("http://data.example.com/a.csv", "known kind"),
    ("https://me:word@data.example.com/a.csv", "credentials"),
    ("https://data.example.com", "refused"),
    ("https://data.example.com/a.csv?key=1", "refused"),
    ("https://data.example.com/a.csv#1", "refused"),
    ("https://data.example.com/../a.csv", "'..'"),
    ("https://localhost/a.csv", "not an address"),
    ("https://127.0.0.1/a.csv", "not an address"),
    ("https://10.1/a.csv", "not an address"),
    ("https://0x7f.0x1/a.csv", "not an address"),
    ("https://[::1]/a.csv", "not an address"),
    ("https://data.example.com:/a.csv", "refused"),
    ("https://ｅxample.com/a.csv", "refused"),
    ("s3://Lake/a.csv", "refused"),
    ("file:///etc/passwd", "known kind"),
    ("PVC://store/a", "known kind"),
    ("pvc://user:word@store/a", "credentials"),
    ("pvc://store/../a", "'..'"),
    ("pvc://store/a/..", "'..'"),
    ("pvc://store/%2e%2e/a", "percent-encoded"),
    ("pvc://store/%252e%252e/a", "percent-encoded"),
    ("pvc://store/.hidden", "start with"),
    ("pvc://store//a", "single slashes"),
    ("pvc://store/a/", "single slashes"),
    ("pvc://store/a\n", "refused"),
    ("pvc://store/a b", "refused"),
    ("pvc://Store/a", "refused"),
    ("pvc://store/a\\..\\b", "refused"),
    ("configmap://desk", "refused"),
    ("configmap://desk/a/b", "refused"),
    ("pvc://store/．．/a", "refused"),
]


@pytest.mark.parametrize("text", TAKEN)
def test_a_plain_uri_is_taken(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_an_odd_uri_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(BadUri, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("s3://", True),
        ("s3://lake", True),
        ("s3://lake/", True),
        ("s3://lake/a/b", True),
        ("s3://lake//", False),
        ("s3://lake/..", False),
        ("s3:", False),
        ("gs://", True),
        ("gs://data_lake/", True),
        ("gs://lake/a/b", True),
        ("gs://lake/..", False),
        ("https://", False),
        ("hf://", True),
        ("hf://desk", True),
        ("hf://desk/", True),
        ("hf://desk/tiny", True),
        ("hf://desk/..", False),
        ("hf://datasets/desk/cards", True),
        ("hf://datasets/desk/..", False),
        ("hf://datasets/desk/cards/a.csv", False),
        ("https://data.example.com", True),
        ("https://data.example.com/desk/", True),
        ("http://mlflow.mlops.svc:5000", True),
        ("http://", False),
        ("https://me:word@mlflow/", False),
        ("pvc://claim/", False),
        ("://", False),
        ("", False),
    ],
)
def test_what_credentials_may_be_for(text: str, taken: bool) -> None:
    assert bool(re.match(MATCH_PATTERN, text)) is taken


@given(st.text(alphabet="abc./%2e\\_-@:~", max_size=30))
def test_no_uri_leads_out_of_its_folder(rest: str) -> None:
    try:
        uri = parse(f"pvc://store/{rest}")
    except BadUri:
        return
    path = mounts.path_of(uri)
    assert posixpath.normpath(path) == path
    assert path.startswith(mounts.folder_of(uri))
