"""No URI of a spec leaves its place, by whatever words: the API server refuses it, wherever it stands."""

from collections.abc import Callable
from typing import Any

import pytest

from stagecoach.api.common import URI_RULE
from tests import builders
from tests.integration.kinds.admission import Change, put, refused, take, written
from tests.integration.kinds.test_admission_projects import with_web
from tests.integration.kinds.test_admission_runs import importing
from tests.kube import Kube

BUCKETS = ("s3://lake/{}", "gs://lake/{}")
MODELS = ("pvc://lake/{}", *BUCKETS, "hf://desk/{}", "hf://{}/cards")
FILES = (
    *("pvc://lake/{}", *BUCKETS, "configmap://desk/{}", "https://data.example.com/{}"),
    *("hf://datasets/desk/cards/{}", "hf://datasets/{}/cards/a"),
)
BEGINNINGS = (*BUCKETS, "https://data.example.com/{}", "hf://{}", "hf://datasets/desk/{}")
SERVERS = ("https://mlflow.lab/{}", "http://mlflow.lab:5000/{}")
FIELDS: dict[str, tuple[Callable[..., builders.Object], Callable[..., Change], tuple[str, ...]]] = {
    "storage.uri": (builders.project, lambda uri: put("storage.uri", uri), ("pvc://lake/{}", *BUCKETS)),
    "candidates.model.uri": (builders.project, lambda uri: put("candidates.0.model.uri", uri), MODELS),
    "data.sets.uri": (builders.project, lambda uri: put("data.sets.0.uri", uri), FILES),
    "credentials.match": (builders.project, with_web, BEGINNINGS),
    "tracking.mlflow.uri": (builders.project, lambda uri: put("tracking", {"mlflow": {"uri": uri}}), SERVERS),
    "method.uri": (builders.run, lambda uri: importing(method={"uri": uri}), MODELS),
}
CASES: list[Any] = [
    pytest.param(builder, change, uri, id=f"{field} {uri}")
    for field, (builder, change, several) in FIELDS.items()
    for uri in several
]
ODD = (
    *("..", "../a", "a/..", "a/../b", "a/../../b", ".", "./a", ".git", "a//b"),
    *("%2e%2e", "%2E%2E/a", ".%2e/a", "a/%2e%2e/b", "a/..%2fb", "%252e%252e/a", "a%2f..%2fb", "a%00", "a\\..\\b"),
)


@pytest.mark.parametrize(("builder", "change", "uri"), CASES)
def test_no_uri_leaves_its_place(
    kube: Kube, builder: Callable[..., builders.Object], change: Callable[..., Change], uri: str
) -> None:
    take(kube, written(builder, kube.namespace, change(uri.format("a"))))
    for odd in ODD:
        assert URI_RULE in refused(kube, written(builder, kube.namespace, change(uri.format(odd)))), odd
