"""What Prometheus is told to scrape."""

from typing import Any

import pytest

from stagecoach.build.labels import COMPONENT, ENGINE_NAME, OWNER_NAME
from stagecoach.runtime.targets import targets


def pod(component: str, address: str = "10.1.2.3", **labels: str) -> dict[str, Any]:
    of = {OWNER_NAME: "intents", COMPONENT: component} | labels
    status = {"podIP": address} if address else {}
    return {"kind": "Pod", "metadata": {"name": "p", "namespace": "team", "labels": of}, "status": status}


PLACE = {"namespace": "team", "pod": "p", "deployment": "intents"}


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        (pod("gateway"), ("10.1.2.3:9090", PLACE | {"component": "gateway"})),
        (
            pod("engine", **{ENGINE_NAME: "intents-e-0"}),
            ("10.1.2.3:8000", PLACE | {"component": "engine", "engine_name": "intents-e-0"}),
        ),
        (pod("gateway", "fd00::1"), ("[fd00::1]:9090", PLACE | {"component": "gateway"})),
        (pod("gateway", ""), None),
        (pod("judge"), None),
        (pod("gateway") | {"kind": "Job"}, None),
        ({"kind": "Pod", "metadata": {"name": "p", "namespace": "team"}, "status": {"podIP": "10.1.2.3"}}, None),
    ],
)
def test_a_pod_that_serves_is_a_target(child: dict[str, Any], expected: tuple[str, dict[str, str]] | None) -> None:
    assert targets([child]) == ([{"targets": [expected[0]], "labels": expected[1]}] if expected else [])
