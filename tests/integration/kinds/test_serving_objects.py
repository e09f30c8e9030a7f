"""The API server takes all that is made for a ModelDeployment as it is, and its pods where only restricted ones may run."""

import json
from typing import Any

import pytest

from stagecoach.build import gateway, serving_engine
from stagecoach.build.pods import Network, credentials
from stagecoach.build.recipes import recipe, recipe_config_map
from stagecoach.contract.gateway_routes import Routes, sign
from tests import builders
from tests.kube import Kube
from tests.unit.build.serving import IMAGES, MASTER_KEY, admitted, base, deployment, project, settings

Object = dict[str, Any]

# All that adds to a pod: volumes, settings, places elsewhere.
PROJECT = project(
    credentials=[{"match": "s3://lake/", "secret": {"name": "lake"}}],
    pods={
        "labels": {"team": "a"},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
    },
)
SETTINGS = settings(network=Network(https_proxy="http://proxy.example:3128", ca_config_map="ca", ca_key="ca.crt"))
PLAIN = deployment()
ALL = deployment(
    replicas=3,
    engine={"resources": {"cpu": "1500m", "memory": "24Gi", "gpus": 1}, "startDeadline": "999d"},
    contract={"timeout": "1h"},
    access={"apiKeys": {"name": "clients"}, "feedback": {"name": "team"}},
    gateway={"replicas": 3},
    sampling={"claim": {"name": "kept"}, "rate": 1, "redact": []},
)
ELSEWHERE = admitted("8", "Model", storage="s3://lake/desk", base=base(uri="hf://org/small", revision="f" * 40))


def made() -> list[Object]:
    """Return one of each, and Deployments of every sort."""
    routes = Routes(deployment=PLAIN.metadata.uid, name="intents", revision=1, api="Task", stable=None, keys=False)
    engines = [
        serving_engine.engine(of, recipe(of, release, IMAGES, settled), SETTINGS, 1)
        for of in (PLAIN, ALL)
        for release in (admitted(), ELSEWHERE)
        for settled in (PROJECT, project())
    ]
    return [
        *engines,
        *(
            gateway.gateway(of, (admitted(), ELSEWHERE), PROJECT.spec.pods, credentials(PROJECT.spec), SETTINGS)
            for of in (PLAIN, ALL)
        ),
        serving_engine.engine_service(PLAIN, engines[0]["metadata"]["name"]),
        serving_engine.engine_policy(PLAIN, SETTINGS),
        serving_engine.engine_budget(PLAIN, [engine["metadata"]["name"] for engine in engines[:2]]),
        gateway.gateway_service(PLAIN),
        gateway.gateway_budget(PLAIN),
        gateway.routes_config_map(PLAIN, sign(routes, b"r" * 32), 1),
        gateway.keys_secret(PLAIN, MASTER_KEY),
        gateway.admitted_config_map(PLAIN, admitted()),
        recipe_config_map(PLAIN, recipe(PLAIN, admitted(), IMAGES, PROJECT)),
    ]


def here(kube: Kube, obj: Object) -> Object:
    """Return an object in the test's namespace, without its owner, who is not there."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return obj | {"metadata": metadata | {"namespace": kube.namespace}}


@pytest.mark.parametrize("index", range(len(made())))
def test_the_api_server_takes_it(kube: Kube, index: int) -> None:
    obj = here(kube, made()[index])
    path = kube.path(obj["kind"], obj["metadata"]["name"])
    strictly = "?fieldManager=tests&dryRun=All&fieldValidation=Strict"
    taken = kube.request("PATCH", path + strictly, json.dumps(obj).encode(), "application/apply-patch+yaml")
    assert taken["metadata"]["name"] == obj["metadata"]["name"]


def test_what_never_changes_cannot_be_changed(kube: Kube) -> None:
    for obj in (gateway.keys_secret(PLAIN, MASTER_KEY), gateway.admitted_config_map(PLAIN, admitted())):
        name = kube.create(here(kube, obj))["metadata"]["name"]
        with pytest.raises(AssertionError, match="immutable"):
            kube.patch(obj["kind"], name, {"data": {"another": builders.digest("1")[:8]}})


def test_pods_are_restricted_and_say_what_they_ask_for(kube: Kube) -> None:
    for obj in made():
        if obj["kind"] != "Deployment":
            continue
        template = obj["spec"]["template"]
        metadata = template["metadata"] | {"name": obj["metadata"]["name"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        taken = kube.request("POST", kube.path("Pod") + "?dryRun=All", pod)
        for container in taken["spec"]["containers"] + taken["spec"]["initContainers"]:
            asked = container["resources"]
            assert {"cpu", "memory"} <= asked["requests"].keys(), container["name"]
            assert asked["limits"] == {key: value for key, value in asked["requests"].items() if key != "cpu"}
