"""What the operator makes for its kinds is admitted where others' pods are not."""

import pytest


@pytest.fixture
def namespace_labels() -> dict[str, str]:
    """Only restricted pods may run in the tests' namespaces."""
    return {"pod-security.kubernetes.io/enforce": "restricted"}
