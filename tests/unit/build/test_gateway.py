"""The gateways: what they are told, what clients reach, and what never changes once it is made."""

import base64
import json
from typing import Any

import pytest

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build import gateway
from stagecoach.build.gateway import admitted_config_map, keys_secret, read_admitted
from stagecoach.build.pods import Network, credentials
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.gateway_routes import Routes, sign, verified
from stagecoach.contract.jobs import ModelSource
from stagecoach.kinds.modeldeployment.engines import HEARD_OF
from stagecoach.policies.keys import Purpose, derive
from stagecoach_gateway.__main__ import LEAVING_SECONDS
from tests import builders
from tests.unit.build.serving import GATEWAY_IMAGE, MASTER_KEY, admitted, base, deployment, project, settings

Object = dict[str, Any]


def made(of: ModelDeployment | None = None, *bases: Admitted, **chosen: Any) -> Object:
    return gateway.gateway(
        of or deployment(), bases or (admitted(),), project().spec.pods, credentials(project().spec), settings(**chosen)
    )


def pod(of: ModelDeployment | None = None, *bases: Admitted, **chosen: Any) -> Object:
    spec: Object = made(of, *bases, **chosen)["spec"]["template"]["spec"]
    return spec


def env(container: Object) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container["env"]}


def sources(spec: Object) -> list[ModelSource]:
    told = json.loads(env(spec["initContainers"][0])["STAGECOACH_TOKENIZERS"])
    return [ModelSource.model_validate(item) for item in told]


def test_clients_reach_it_by_the_deployments_name() -> None:
    of, found = deployment(), made()
    service = gateway.gateway_service(of)
    assert service["metadata"]["name"] == "intents"
    assert [(item["port"], item["targetPort"]) for item in service["spec"]["ports"]] == [(80, 8080)]
    assert service["spec"]["selector"] == found["spec"]["selector"]["matchLabels"]
    assert gateway.endpoint(of) == "http://intents.team.svc"


def test_it_is_told_whose_it_is_and_probed_where_clients_do_not_come() -> None:
    [container] = pod()["containers"]
    assert container["image"] == GATEWAY_IMAGE
    assert env(container)["STAGECOACH_DEPLOYMENT"] == deployment().metadata.uid
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 9090}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": 9090}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_it_finds_what_it_reads() -> None:
    spec = pod(deployment(access={"apiKeys": {"name": "clients-of-intents"}}))
    [container] = spec["containers"]
    assert {item["mountPath"]: item["name"] for item in container["volumeMounts"]} == {
        "/stagecoach/tokenizers": "tokenizers",
        "/stagecoach/routes": "routes",
        "/stagecoach/gateway": "keys",
        "/stagecoach/clients": "clients",
    }
    assert all(item["readOnly"] for item in container["volumeMounts"])
    volumes = {item["name"]: item for item in spec["volumes"]}
    assert volumes["routes"]["configMap"] == {"name": "intents-routes", "optional": True}
    assert volumes["clients"]["secret"]["secretName"] == "clients-of-intents"
    assert [item["path"] for item in volumes["keys"]["secret"]["items"]] == ["routes-key", "admin-token", "engine-key"]
    assert "clients" not in {item["name"] for item in pod()["volumes"]}


def test_it_knows_who_gives_feedback_and_who_asks_apart() -> None:
    both = {"apiKeys": {"name": "web"}, "feedback": {"name": "team"}}
    for access in (both, {"feedback": {"name": "team"}}):
        spec = pod(deployment(access=access, sampling={"claim": {"name": "kept"}, "rate": 0, "redact": []}))
        names = {item["name"]: item["secret"]["secretName"] for item in spec["volumes"] if "secret" in item}
        assert {name: names[name] for name in names if name != "keys"} == {
            {"apiKeys": "clients"}.get(field, field): secret["name"] for field, secret in access.items()
        }
        optional = {item["name"] for item in spec["volumes"] if item.get("secret", {}).get("optional")}
        assert optional == {"feedback"}, "who does not know who may ask is not to begin; feedback can wait"
        places = {item["mountPath"]: item["readOnly"] for item in spec["containers"][0]["volumeMounts"][3:-1]}
        assert places == {f"/stagecoach/{name}": True for name in names if name != "keys"}


def test_it_writes_what_is_kept_into_a_folder_of_its_own_and_sees_no_other() -> None:
    spec = pod(deployment(sampling={"claim": {"name": "kept"}, "rate": 0.05, "redact": []}))
    [container] = spec["containers"]
    written = [item for item in container["volumeMounts"] if not item.get("readOnly")]
    assert written == [{"name": "samples", "mountPath": "/stagecoach/samples", "subPath": "samples/intents"}]
    volumes = {item["name"]: item for item in spec["volumes"]}
    assert volumes["samples"]["persistentVolumeClaim"] == {"claimName": "kept"}
    assert "samples" not in {item["name"] for item in pod()["volumes"]}


@pytest.mark.parametrize(
    ("claim", "uri", "volumes"),
    [
        ("models", "pvc://models/small", 1),  # of a pod with two volumes of one claim a kubelet may wait for ever
        ("kept", "pvc://models/small", 2),
        ("models", "hf://org/small", 1),
    ],
)
def test_a_claim_is_one_volume_whatever_lies_on_it(claim: str, uri: str, volumes: int) -> None:
    of = deployment(sampling={"claim": {"name": claim}, "rate": 0.05, "redact": []})
    spec = pod(of, admitted(base=base(uri=uri)))
    named = {each["name"]: each["persistentVolumeClaim"] for each in spec["volumes"] if "persistentVolumeClaim" in each}
    assert len(named) == volumes
    [written] = [item for item in spec["containers"][0]["volumeMounts"] if not item.get("readOnly")]
    assert named[written["name"]] == {"claimName": claim}
    assert written["subPath"] == "samples/intents"


@pytest.mark.parametrize(("timeout", "drain", "grace"), [("30s", "60", 80), ("5m", "300", 320), ("1h", "580", 600)])
def test_what_was_begun_ends_before_the_pod(timeout: str, drain: str, grace: int) -> None:
    spec = pod(deployment(contract={"timeout": timeout}))
    assert env(spec["containers"][0])["STAGECOACH_DRAIN_SECONDS"] == drain
    assert spec["terminationGracePeriodSeconds"] == grace


def test_a_gateway_that_leaves_takes_requests_until_nodes_have_heard_of_it() -> None:
    assert HEARD_OF.total_seconds() < LEAVING_SECONDS
    assert LEAVING_SECONDS <= gateway.LEAVING_SECONDS, "or the pod would end before what it has begun"


def test_each_tokenizer_is_brought_once() -> None:
    other = base(uri="hf://org/other", tokenizer=builders.digest("1"))
    spec = pod(None, admitted(), admitted("8"), admitted("9", base=other))
    assert [item.uri for item in sources(spec)] == ["pvc://models/small", "hf://org/other"]
    [container] = spec["initContainers"]
    assert container["command"] == ["python3", "-m", "stagecoach_evaluator.tokenizers"]
    mounted = {item["mountPath"]: item.get("readOnly", False) for item in container["volumeMounts"]}
    assert mounted == {"/stagecoach/scratch": False, "/stagecoach/pvc/models": True, "/stagecoach/tokenizers": False}


def test_what_says_nothing_new_makes_no_new_pods() -> None:
    other = admitted("9", base=base(uri="hf://org/other", tokenizer=builders.digest("1")))
    renamed = admitted("8", base=base(license="MIT"))
    assert made(None, admitted(), other) == made(None, other, renamed)
    assert made() == made(deployment(replicas=5, engine={"maxConcurrent": 8}))


def test_only_what_brings_tokenizers_reaches_outside() -> None:
    network = Network(https_proxy="http://proxy:3128")
    spec = pod(None, admitted(base=base(uri="s3://lake/small")), network=network)
    assert env(spec["initContainers"][0])["HTTPS_PROXY"] == "http://proxy:3128"
    assert "HTTPS_PROXY" not in env(spec["containers"][0])


def test_no_two_gateways_go_at_a_time() -> None:
    assert made()["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = gateway.gateway_budget(deployment())
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == made()["spec"]["selector"]


def test_routes_are_told_as_they_are_signed() -> None:
    of, key = deployment(), b"r" * 32
    routes = Routes(deployment=of.metadata.uid, name="intents", revision=7, api="Task", stable=None, keys=False)
    found = gateway.routes_config_map(of, sign(routes, key), 7)
    assert found["metadata"]["annotations"] == {"stagecoach.dev/revision": "7"}
    assert verified(found["data"]["routes.json"], key) == routes


def test_keys_are_those_of_the_deployment_and_so_is_the_name() -> None:
    of, later = deployment(), deployment(uid="another")
    secret = keys_secret(of, MASTER_KEY)
    assert secret["immutable"] is True
    told = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert told == {purpose.value: derive(MASTER_KEY, of.metadata.uid, purpose) for purpose in Purpose}
    names = {each["metadata"]["name"] for each in (secret, keys_secret(later, MASTER_KEY), keys_secret(of, b"n" * 32))}
    assert len(names) == 3
    mounted = {item["name"]: item for item in pod(of)["volumes"]}["keys"]["secret"]["secretName"]
    assert mounted == secret["metadata"]["name"]


def test_what_was_admitted_is_read_as_it_was_written() -> None:
    for release in (admitted(), admitted("8", "Model", labels=None)):
        found = admitted_config_map(deployment(), release)
        assert found["immutable"] is True
        assert read_admitted(found) == release


def test_every_release_has_a_name_of_its_own() -> None:
    releases = [admitted(), admitted("8"), admitted(storage="s3://other")]
    names = {admitted_config_map(deployment(), each)["metadata"]["name"] for each in releases}
    names.add(admitted_config_map(deployment(uid="another"), admitted())["metadata"]["name"])
    assert len(names) == 4


def test_what_somebody_else_wrote_is_not_what_was_admitted() -> None:
    found = admitted_config_map(deployment(), admitted())
    other = found | {"data": admitted_config_map(deployment(), admitted("8"))["data"]}
    with pytest.raises(ValueError, match=f"{found['metadata']['name']} says something else"):
        read_admitted(other)
    for data in ({}, {"admitted.json": "{}"}, {"admitted.json": "no"}):
        with pytest.raises(ValueError, match="does not say what was admitted"):
            read_admitted(found | {"data": data})
