"""Who a kubeconfig's user acts as, and what the plugin needs of the client's library that this does not promise."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.kube_config import ConfigNode, KubeConfigMerger

from stagecoach_plugin.kubeconfig import connect, impersonation
from tests.unit.plugin.samples import Object


@pytest.mark.parametrize(
    ("user", "headers"),
    [
        ({}, []),
        ({"token": "x", "as-groups": ["a"]}, []),
        ({"as": "qa"}, [("Impersonate-User", "qa")]),
        ({"as": "qa", "as-groups": ["a", "b"]}, [("Impersonate-User", "qa"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b")]),
        (
            {"as": "qa", "as-uid": 7, "as-user-extra": {"scopes": ["x", "y"]}},
            [("Impersonate-User", "qa"), ("Impersonate-Uid", "7"), ("Impersonate-Extra-scopes", "x"), ("Impersonate-Extra-scopes", "y")],
        ),
    ],
)  # fmt: skip
def test_whoever_acts_as_another_says_so_in_headers(user: Object, headers: list[tuple[str, str]]) -> None:
    assert list(impersonation(user)) == headers


ROOT = Path(__file__).parents[3]


@pytest.fixture
def two_files(tmp_path: Path) -> str:
    """A kubeconfig in two files: the context in one, whom and what it names in the other."""
    cluster = {"server": "https://api.example.com:6443", "insecure-skip-tls-verify": True}
    context = {"cluster": "c", "user": "u", "namespace": "support"}
    user = {"token": "x", "as": "qa", "as-groups": ["ml-leads"]}
    first: Object = {"current-context": "here", "contexts": [{"name": "here", "context": context}]}
    second: Object = {"clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}]}
    paths = [tmp_path / "first", tmp_path / "second"]
    for path, document in zip(paths, (first, second), strict=True):
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config"} | document))
    return ":".join(map(str, paths))


def test_the_names_of_the_clients_library_that_it_does_not_promise(two_files: str) -> None:
    """Another major version of it may have others: correct kubeconfig.py and connection.py before the bound is raised."""
    merged = KubeConfigMerger(two_files).config  # type: ignore[no-untyped-call]
    assert isinstance(merged, ConfigNode)
    assert [isinstance(node, ConfigNode) and node.value["name"] for node in merged.value["users"]] == ["u"]
    assert isinstance(RESTClientObject(Configuration()).pool_manager, urllib3.PoolManager)
    settings = Configuration()
    settings.api_key["BearerToken"] = "Bearer x"
    assert settings.get_api_key_with_prefix("BearerToken", alias="authorization") == "Bearer x"


def test_a_kubeconfig_in_two_files_is_one(two_files: str) -> None:
    connection = connect(two_files, None, None)
    assert connection.namespace == "support"
    assert connection._headers == (("Impersonate-User", "qa"), ("Impersonate-Group", "ml-leads"))
    assert connection._settings.host == "https://api.example.com:6443"


def test_no_version_of_the_clients_library_is_allowed_that_was_not_tested() -> None:
    needed = tomllib.loads((ROOT / "plugin" / "pyproject.toml").read_text())["project"]["dependencies"]
    [bound] = [found[1] for each in needed if (found := re.fullmatch(r"kubernetes>=\d+,<(\d+)", each))]
    [tested] = re.findall(r"^kubernetes==(\d+)\.", (ROOT / "locks" / "plugin.txt").read_text(), re.MULTILINE)
    assert int(bound) == int(tested) + 1
