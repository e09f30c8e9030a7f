"""What the tests of admission share: changes of a spec, and what the API server says to them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests import builders
from tests.kube import Kube, KubeError

Change = Callable[[builders.Object], Any]


def put(path: str, value: Any) -> Change:
    """Return a change that sets one field of a spec; numbers in the path are list indices, None removes."""

    def change(spec: builders.Object) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        at: Any = spec
        for part in parents:
            at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
        if value is None:
            del at[last]
        else:
            at[last] = value

    return change


def written(builder: Callable[..., builders.Object], namespace: str, change: Change | None = None) -> builders.Object:
    obj = copy.deepcopy(builder(namespace=namespace))
    if change:
        change(obj["spec"])
    return obj


def refused(kube: Kube, obj: builders.Object) -> str:
    with pytest.raises(KubeError) as caught:
        kube.request("POST", kube.path(obj["kind"]) + "?fieldValidation=Strict", obj)
    assert caught.value.code in (400, 422), "refused by the schema, not by accident"
    return str(caught.value).replace('\\"', '"').replace("\\u003c", "<").replace("\\u003e", ">")


def take(kube: Kube, obj: builders.Object) -> builders.Object:
    """Return the object as the API server would keep it; nothing is kept."""
    return kube.request("POST", kube.path(obj["kind"]) + "?fieldValidation=Strict&dryRun=All", obj)
