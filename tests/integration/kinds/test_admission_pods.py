"""Names of objects, and what a project says about its pods: all that Kubernetes allows, and nothing else."""

from collections.abc import Callable

import pytest

from tests import builders
from tests.integration.kinds.admission import refused
from tests.integration.support.kube import Kube


@pytest.mark.parametrize("builder", [builders.project, builders.run])
@pytest.mark.parametrize(
    ("name", "taken"), [("a" * 50, True), ("a" * 51, False), ("a.b", False), ("1", True), ("a--b", True)]
)
def test_names_leave_room_for_those_of_jobs(
    kube: Kube, builder: Callable[..., builders.Object], name: str, taken: bool
) -> None:
    obj = builder(name=name, namespace=kube.namespace)
    if taken:
        kube.create(obj)
    else:
        assert "DNS label of at most 50 characters" in refused(kube, obj)
