"""What is kept of children, and what of them is no news."""

from typing import Any

import orjson
import pytest

from stagecoach.build.labels import (
    API_VERSION,
    APPLIED,
    COMPONENT,
    ENGINE,
    ENGINE_NAME,
    OWNER_KIND,
    OWNER_NAME,
    OWNER_UID,
)
from stagecoach.kinds.plan import Object
from stagecoach.policies.fitting import MOST_BYTES
from stagecoach.runtime import trim
from stagecoach.runtime.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICES
from tests.unit.runtime.fakes import pod

SINCE = "2026-01-01T00:00:00Z"
METADATA: Object = {"name": "x", "namespace": "ns", "uid": "u", "resourceVersion": "5", "creationTimestamp": SINCE}


def metadata(**more: Any) -> Object:
    annotations = {APPLIED: "sha256:abc", "deployment.kubernetes.io/revision": "3"}
    return METADATA | {"generation": 2, "managedFields": [{}], "annotations": annotations} | more


def deployment(**status: Any) -> Object:
    spec = {"replicas": 2, "selector": {}, "template": {"spec": {"containers": [{"image": "x"}]}}}
    return {"metadata": metadata(), "spec": spec, "status": {"observedGeneration": 2, "readyReplicas": 1} | status}


def condition(kind: str, **more: Any) -> Object:
    return {"type": kind, "status": "True", "reason": "R", "message": "m", "lastTransitionTime": SINCE} | more


def serving(**status: Any) -> Object:
    found = pod("p", podIP="10.0.0.1", podIPs=[{"ip": "10.0.0.1"}], hostIP="10.1.0.1", **status)
    found["metadata"]["labels"] |= {COMPONENT: ENGINE, ENGINE_NAME: "desk-e-1"}
    return found


def test_of_a_deployment_only_what_is_read_is_kept() -> None:
    told = condition("Progressing", lastUpdateTime=SINCE)
    kept = trim.child(DEPLOYMENTS, deployment(conditions=[told], unavailableReplicas=1, collisionCount=0))
    assert kept == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": METADATA | {"generation": 2, "annotations": {APPLIED: "sha256:abc"}},
        "spec": {"replicas": 2, "selector": {}},
        "status": {"observedGeneration": 2, "readyReplicas": 1, "conditions": [condition("Progressing")]},
    }


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({}, False),
        ({"unavailableReplicas": 1}, False),
        ({"conditions": [condition("Available", lastUpdateTime="2026-01-02T00:00:00Z")]}, False),
        ({"conditions": [condition("Available", status="False")]}, True),
        ({"readyReplicas": 2}, True),
        ({"observedGeneration": 3}, True),
    ],
)
def test_a_version_of_a_deployment_is_news_when_it_says_something(change: Object, news: bool) -> None:
    before = trim.child(DEPLOYMENTS, deployment(conditions=[condition("Available")]))
    after = deployment(**({"conditions": [condition("Available")]} | change))
    after["metadata"]["resourceVersion"] = "6"
    assert trim.same(before, trim.child(DEPLOYMENTS, after)) is not news


def test_of_a_config_map_of_others_the_data_is_not_kept() -> None:
    kept = trim.child(CONFIG_MAPS, {"metadata": metadata(), "data": {"routes.json": "{}"}})
    assert kept["metadata"]["annotations"] == {APPLIED: "sha256:abc"}
    assert "data" not in kept


def routes(text: str = "{}", name: str = "desk-routes", owner: Object | None = None, **more: Any) -> Object:
    owned = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "name": "desk", "uid": "u-1", "controller": True}
    labels = {OWNER_KIND: "ModelDeployment", OWNER_NAME: "desk", OWNER_UID: "u-1"}
    found = metadata(name=name, labels=labels, ownerReferences=[owned | (owner or {})]) | more
    return {"metadata": found, "data": {"routes.json": text, "other": "x"}}


def test_of_what_gateways_are_told_it_is() -> None:
    assert trim.child(CONFIG_MAPS, routes())["data"] == {"routes.json": "{}"}
    large = "x" * 3 * MOST_BYTES  # of two releases, and as much besides
    assert trim.child(CONFIG_MAPS, routes(large))["data"] == {"routes.json": large}


@pytest.mark.parametrize(
    "other",
    [
        routes(name="desk-routes-2"),
        routes(owner={"uid": "u-2"}),
        routes(owner={"name": "other"}),
        routes(owner={"kind": "FineTuneRun"}),
        routes(owner={"apiVersion": "example.com/v1"}),
        routes(ownerReferences=None),
        routes(deletionTimestamp=SINCE),
        routes(labels=None),
    ],
)
def test_of_what_no_deployment_has_for_its_routes_it_is_not(other: Object) -> None:
    assert "data" not in trim.child(CONFIG_MAPS, other)


def admitted(text: str = "{}", kind: str = "ModelDeployment", **data: str) -> Object:
    found = METADATA | {"labels": {OWNER_KIND: kind}}
    return {"metadata": found, "data": {"admitted.json": text} | data, "immutable": True}


def test_of_one_that_cannot_what_was_admitted_is() -> None:
    kept = trim.child(CONFIG_MAPS, admitted())
    assert (kept["data"], kept["immutable"]) == ({"admitted.json": "{}"}, True)
    assert "annotations" not in kept["metadata"]
    assert trim.child(CONFIG_MAPS, admitted("x" * MOST_BYTES))["data"]


def test_what_others_put_into_one_is_not_kept() -> None:
    assert trim.child(CONFIG_MAPS, admitted(other="x"))["data"] == {"admitted.json": "{}"}
    large, no_admission = "x" * (MOST_BYTES + 1), METADATA | {"labels": {OWNER_KIND: "ModelDeployment"}}
    others = [admitted(large), admitted(kind="FineTuneRun"), {"metadata": no_admission, "data": {"x": large}}]
    for other in others:
        assert "data" not in trim.child(CONFIG_MAPS, other | {"immutable": True})


def test_of_a_service_what_it_was_applied_as_is_kept() -> None:
    kept = trim.child(SERVICES, {"metadata": metadata(), "spec": {"clusterIP": "10.2.0.1"}, "status": {}})
    assert kept["metadata"]["annotations"] == {APPLIED: "sha256:abc"}
    assert (kept["spec"], kept["status"]) == ({}, {})


def test_of_a_pod_that_serves_its_address_is_kept_and_whether_it_is_ready() -> None:
    ready = condition("Ready", lastProbeTime=None, observedGeneration=1)
    kept = trim.child(PODS, serving(conditions=[condition("Initialized"), ready]))["status"]
    told = {"type": "Ready", "status": "True", "lastTransitionTime": SINCE}
    assert kept == {"phase": "Running", "podIP": "10.0.0.1", "conditions": [told]}


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({"conditions": [condition("Ready", message="other words")]}, False),
        ({"conditions": [condition("Ready"), condition("ContainersReady", status="False")]}, False),
        ({"conditions": [condition("Ready", status="False")]}, True),
        ({"conditions": []}, True),
    ],
)
def test_a_version_of_a_serving_pod_is_news_when_it_says_something(change: Object, news: bool) -> None:
    before = trim.child(PODS, serving(conditions=[condition("Ready")]))
    assert trim.same(before, trim.child(PODS, serving(**change))) is not news


def test_a_pod_of_a_job_costs_no_more_for_what_others_serve() -> None:
    found = pod("p", podIP="10.0.0.1", conditions=[condition("Ready"), condition("PodScheduled")])
    kept = trim.child(PODS, found)
    assert kept["status"] == {"phase": "Running", "conditions": [condition("PodScheduled")]}
    assert set(kept["metadata"]) == {"name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp"}
    assert len(orjson.dumps(kept)) < 600
