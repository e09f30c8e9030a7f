"""Whether something has to be applied again."""

import copy
from typing import Any

import pytest

from stagecoach.build.applied import marked, needs_apply

Object = dict[str, Any]

WANTED: Object = {
    "kind": "Deployment",
    "metadata": {"name": "a", "annotations": {"mine": "1"}},
    "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": ["c"]}}},
}
ROUTES: Object = {"kind": "ConfigMap", "metadata": {"name": "r"}, "data": {"routes.json": "x"}}


def observed(wanted: Object) -> Object:
    """Return what the API server makes of it."""
    found = copy.deepcopy(marked(wanted))
    found["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 3}
    if "spec" in found:
        found["spec"] |= {"paused": False, "minReadySeconds": 0}
        found["spec"]["selector"]["added"] = "by a default"
    return found


@pytest.mark.parametrize("wanted", [WANTED, ROUTES])
def test_what_is_there_is_not_applied(wanted: Object) -> None:
    assert needs_apply(observed(wanted), wanted) is None
    assert needs_apply(observed(wanted), marked(wanted)) is None


@pytest.mark.parametrize("wanted", [WANTED, ROUTES])
def test_what_is_not_there_is_applied(wanted: Object) -> None:
    assert needs_apply(None, wanted) == marked(wanted)
    assert "uid" not in marked(wanted)["metadata"]


def changed(wanted: Object, *path: str, value: Any) -> Object:
    result = copy.deepcopy(wanted)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return result


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (observed(WANTED), changed(WANTED, "spec", "template", value={})),
        (observed(WANTED), changed(WANTED, "spec", "replicas", value=2)),
        (observed(WANTED), changed(WANTED, "metadata", "annotations", value={"mine": "2"})),
        (changed(observed(WANTED), "spec", "replicas", value=2), WANTED),
        (changed(observed(WANTED), "spec", "selector", "matchLabels", "a", value="other"), WANTED),
        (changed(observed(WANTED), "metadata", "annotations", value=None), WANTED),
    ],
)
def test_what_is_otherwise_is_applied_to_what_was_seen(found: Object, wanted: Object) -> None:
    applied = needs_apply(found, wanted)
    assert applied is not None
    assert (applied["metadata"]["uid"], applied["metadata"]["resourceVersion"]) == ("u", "7")
    assert applied["spec" if "spec" in wanted else "data"] == wanted["spec" if "spec" in wanted else "data"]


def test_what_others_add_stays() -> None:
    assert needs_apply(changed(observed(ROUTES), "data", "theirs", value="x"), ROUTES) is None
    assert needs_apply(changed(observed(WANTED), "spec", "paused", value=True), WANTED) is None
