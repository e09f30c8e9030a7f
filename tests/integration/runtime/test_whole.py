"""The operator with all its kinds, as it is installed."""

import pytest

from tests.builders import project_spec
from tests.integration.support.eventually import eventually
from tests.kube import Kube


@pytest.mark.usefixtures("operator")
def test_a_project_is_taken_in_and_says_what_it_waits_for(kube: Kube) -> None:
    api_version, metadata = "stagecoach.dev/v1alpha1", {"name": "desk"}
    kube.create({"apiVersion": api_version, "kind": "TransformerProject", "metadata": metadata, "spec": project_spec()})
    told = eventually(
        lambda: kube.get("TransformerProject", "desk")["status"].get("conditions"), 60, "it says something"
    )
    conditions = {each["type"]: each for each in told}
    assert conditions["Ready"]["reason"] not in ("InternalError", "Forbidden", "Invalid")
    assert conditions["Ready"]["message"]
