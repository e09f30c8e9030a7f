"""Who a kubeconfig's user acts as."""

import pytest

from stagecoach_plugin.kubeconfig import impersonation
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
