"""A serving engine: what it serves, when it is another one, and what its pods are made of."""

import json
from typing import Any

import pytest

from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build import serving_engine
from stagecoach.build.pods import Network
from stagecoach.build.recipes import Images, engine_name, recipe, serve
from stagecoach.build.serving_engine import LEAVING_SECONDS, engine, engine_url
from stagecoach.contract import serving as contract
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.inputs import Family, Overflow, Tokenization
from stagecoach.contract.loading import Serve
from stagecoach.contract.readings import Reads
from stagecoach.kinds.modeldeployment.engines import HEARD_OF
from stagecoach_gateway import limits
from tests import builders
from tests.unit.build.serving import IMAGES, admitted, base, deployment, described_by, project, settings

Object = dict[str, Any]


def made(
    of: ModelDeployment | None = None, release: Admitted | None = None, images: Images = IMAGES, **chosen: Any
) -> Object:
    of = of or deployment()
    return engine(of, recipe(of, release or admitted(), images, project()), settings(**chosen), of.spec.replicas)


def pod(**changes: Any) -> Object:
    spec: Object = made(**changes)["spec"]["template"]["spec"]
    return spec


def containers(spec: Object) -> tuple[Object, Object]:
    [loader], [server] = spec["initContainers"], spec["containers"]
    return loader, server


def env(container: Object) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


def resized(release: Admitted, rule: Tokenization, **changes: Any) -> Admitted:
    asked = release.described.asked.model_copy(update={"tokenization": rule})
    described = described_by(asked, release.described.release.artifact)
    return release.model_copy(update={"described": described, **changes})


def test_what_is_served_of_an_adapter_is_its_base() -> None:
    assert serve(deployment(), admitted()) == Serve(
        base=base(license=None),
        storage="pvc://store/desk",
        max_length=128 + len("größe".encode()) + 16,
        max_adapters=3,
        max_rank=64,
        at_once=32,
    )


def test_what_is_served_of_a_whole_model_is_the_model() -> None:
    found = serve(deployment(), admitted("8", "Model"))
    assert (found.model, found.max_adapters, found.max_rank) == (builders.digest("8"), 0, 0)
    assert serve(deployment(), admitted(kind=None)).model is None


def reading(task: str, **changes: Any) -> Admitted:
    """Return a whole model of an encoder."""
    release = admitted("8", "Model")
    asked = release.described.asked.model_copy(update={"task": task, "architecture": Family.ENCODER})
    described = described_by(asked, release.described.release.artifact)
    return release.model_copy(update={"described": described, **changes})


def test_an_engine_is_told_what_an_encoder_makes_of_a_text() -> None:
    assert serve(deployment(), reading("Classification")).reads is Reads.LABELS
    assert serve(deployment(), reading("Embedding", labels=None)).reads is Reads.VECTORS
    assert "reads" not in serve(deployment(), admitted()).document(), "engines of before keep their names"


WRITES = Tokenization(max_length=100, max_target_length=40, overflow=Overflow.TRUNCATE)


@pytest.mark.parametrize(
    ("changes", "release", "expected"),
    [
        ({}, resized(admitted(), WRITES, labels=None), 140),
        ({}, admitted(labels=("a",)), 145),
        ({}, reading("Classification"), 128),
        ({"api": "OpenAI"}, admitted(), 4096),
        ({"api": "OpenAI", "engine": {"maxLength": 64}}, admitted(), 64),
        ({"engine": {"maxLength": 512}}, admitted(), 512),
    ],
)
def test_how_long_prompt_and_answer_may_be(changes: Object, release: Admitted, expected: int) -> None:
    assert serve(deployment(**changes), release).max_length == expected


def name(release: Admitted | None = None, images: Images = IMAGES, uid: str = "", **changes: Any) -> str:
    of = deployment(uid, **changes) if uid else deployment(**changes)
    return engine_name(of, recipe(of, release or admitted(), images, project()))


@pytest.mark.parametrize(
    "same",
    [
        name(admitted("8")),
        name(admitted(base=base(license="MIT"))),
        name(admitted(run="second")),
        name(replicas=3),
        name(contract={"timeout": "60s"}),
        name(gateway={"replicas": 2}),
        name(access={"apiKeys": {"name": "clients"}}),
    ],
)
def test_what_is_no_reason_for_another_engine(same: str) -> None:
    assert same == name()


def test_what_is_a_reason_for_another_engine_beside() -> None:
    others = [
        name(admitted("8", "Model")),
        name(admitted("9", "Model")),
        name(admitted(storage="s3://other")),
        name(admitted(base=base(uri="pvc://models/moved"))),
        name(images=Images("another", IMAGES.loader)),
        name(images=Images(IMAGES.engine, "another")),
        name(engine={"resources": {"memory": "16Gi"}}),
        name(engine={"resources": {"gpus": 1}}),
        name(engine={"maxLoraRank": 128}),
        name(engine={"maxConcurrent": 8}),
        name(engine={"maxLength": 64}),
        name(api="OpenAI"),
        name(uid="a-later-deployment-of-the-same-name"),
    ]
    assert len({name(), *others}) == len(others) + 1
    assert all(other.startswith("intents-e-") and len(other) == len("intents-e-") + 8 for other in others)


def test_its_pods_are_found_by_labels_that_are_its_own() -> None:
    found = made()
    labels = found["spec"]["selector"]["matchLabels"]
    assert labels == {
        "stagecoach.dev/uid": deployment().metadata.uid,
        "stagecoach.dev/component": "engine",
        "stagecoach.dev/engine": found["metadata"]["name"],
    }
    assert labels.items() <= found["spec"]["template"]["metadata"]["labels"].items()
    assert found["spec"]["template"]["metadata"]["labels"]["stagecoach.dev/kind"] == "ModelDeployment"
    assert found["metadata"]["ownerReferences"][0]["uid"] == deployment().metadata.uid


def test_no_pod_goes_before_another_is_ready() -> None:
    spec = made(deployment(replicas=3, engine={"startDeadline": "1h"}))["spec"]
    assert (spec["replicas"], spec["progressDeadlineSeconds"]) == (3, 3600)
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_an_upgrade_of_the_operator_changes_no_pod_that_serves() -> None:
    later = made(
        trainer_image="t:2", evaluator_image="v:2", engine_image="e:2", engine_cpu_image="c:2", gateway_image="g:2"
    )
    assert later == made()


def test_a_pod_is_ready_only_when_its_models_answer() -> None:
    loader, server = containers(pod())
    assert loader["restartPolicy"] == "Always"
    assert loader["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8001}
    assert server["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert "livenessProbe" not in loader


def test_nobody_ends_an_engine_that_loads() -> None:
    _, server = containers(pod())
    probe = server["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 86400


def test_requests_are_away_before_the_engine_ends_and_it_ends_what_was_begun() -> None:
    spec = pod(of=deployment(contract={"timeout": "45s"}))
    _, server = containers(spec)
    assert server["lifecycle"]["preStop"] == {"sleep": {"seconds": 10}}
    assert spec["terminationGracePeriodSeconds"] == 10 + 45 + 20
    assert server["command"][server["command"].index("--shutdown-timeout") + 1] == "45"
    assert pod(of=deployment(contract={"timeout": "1h"}))["terminationGracePeriodSeconds"] == 600


def test_the_engine_is_asked_from_outside_with_a_key_that_is_nowhere_in_the_pods_template() -> None:
    spec = pod()
    loader, server = containers(spec)
    assert server["command"][server["command"].index("--host") + 1] == contract.EVERYWHERE
    [volume] = [item for item in spec["volumes"] if item["name"] == "keys"]
    secret = volume["secret"]["secretName"]
    assert env(server)["VLLM_API_KEY"] == {"secretKeyRef": {"name": secret, "key": "engine-key"}}
    assert [item["path"] for item in volume["secret"]["items"]] == ["loader-token", "engine-key", "routes-key"]
    assert {"name": "keys", "mountPath": "/stagecoach/keys", "readOnly": True} in loader["volumeMounts"]
    assert "keys" not in {item["name"] for item in server["volumeMounts"]}


def test_the_loader_reads_what_gateways_are_told_to_ask_its_engine_for() -> None:
    found = made()
    spec = found["spec"]["template"]["spec"]
    loader, server = containers(spec)
    [volume] = [item for item in spec["volumes"] if item["name"] == "routes"]
    assert volume["configMap"] == {"name": "intents-routes", "optional": True}
    assert {"name": "routes", "mountPath": "/stagecoach/routes", "readOnly": True} in loader["volumeMounts"]
    assert "routes" not in {item["name"] for item in server["volumeMounts"]}
    assert env(loader)["STAGECOACH_ENGINE_URL"] == engine_url(deployment(), found["metadata"]["name"])


def test_the_loader_is_told_what_is_served() -> None:
    loader, _ = containers(pod(of=deployment(engine={"maxConcurrent": 7})))
    assert loader["command"] == ["python3", "-m", "stagecoach_evaluator.loader"]
    assert Serve.model_validate_json(env(loader)["STAGECOACH_SERVE"]).at_once == 7
    assert loader["image"] == IMAGES.loader
    strange = admitted(base=base(name="$(HOME)"))
    assert "$$(HOME)" in env(containers(pod(release=strange))[0])["STAGECOACH_SERVE"]


def test_nothing_is_written_but_what_is_the_pods_own() -> None:
    spec = pod()
    loader, server = containers(spec)
    writes = [
        {item["mountPath"] for item in each["volumeMounts"] if not item.get("readOnly")} for each in (loader, server)
    ]
    assert writes == [{"/stagecoach/scratch", "/models"}, {"/stagecoach/engine", "/dev/shm"}]  # noqa: S108 - a mount
    assert {"name": "storage", "mountPath": "/stagecoach/storage", "subPath": "desk", "readOnly": True} in server[
        "volumeMounts"
    ]
    assert "/stagecoach/pvc/models" in {item["mountPath"] for item in server["volumeMounts"]}


def test_places_elsewhere_are_reached_as_jobs_reach_them() -> None:
    release = admitted(storage="s3://lake/desk", base=base(uri="hf://org/small"))
    credentials = [{"match": "s3://", "secret": {"name": "lake"}}, {"match": "gs://", "secret": {"name": "other"}}]
    network = Network(https_proxy="http://proxy:3128", ca_config_map="ca", ca_key="ca.crt")
    of = deployment()
    made_of = recipe(of, release, IMAGES, project(credentials=credentials))
    spec = engine(of, made_of, settings(network=network), 1)
    loader, server = containers(spec["spec"]["template"]["spec"])
    assert json.loads(env(loader)["STAGECOACH_ACCESS"])["storage"] == "s3://lake/desk"
    assert env(loader)["HTTPS_PROXY"] == "http://proxy:3128"
    mounted = {item["mountPath"] for item in loader["volumeMounts"]}
    assert {"/stagecoach/credentials/lake", "/stagecoach/authorities"} <= mounted
    assert "/stagecoach/credentials/other" not in mounted
    assert not {"HTTPS_PROXY", "STAGECOACH_ACCESS"} & env(server).keys()
    assert "/stagecoach/credentials/lake" not in {item["mountPath"] for item in server["volumeMounts"]}


def test_pods_are_what_the_project_says_of_pods_and_restricted() -> None:
    settled = project(
        pods={
            "serviceAccountName": "reader",
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "high",
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "labels": {"team": "desk"},
        }
    )
    found = engine(deployment(), recipe(deployment(), admitted(), IMAGES, settled), settings(), 1)["spec"]["template"]
    assert found["metadata"]["labels"]["team"] == "desk"
    spec = found["spec"]
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("reader", "high")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"zone": "a"}, [{"key": "gpu", "operator": "Exists"}])
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    for each in containers(spec):
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_memory_is_shared_and_what_computes_has_the_cpus_and_gpus() -> None:
    asked = {"cpu": "4", "memory": "8Gi", "gpus": 1, "gpuResource": "example.com/gpu"}
    loader, server = containers(pod(of=deployment(engine={"resources": asked})))
    assert int(loader["resources"]["limits"]["memory"]) + int(server["resources"]["limits"]["memory"]) == 8 * 2**30
    assert server["resources"]["requests"]["cpu"] == "4"
    assert server["resources"]["limits"]["example.com/gpu"] == "1"
    assert "example.com/gpu" not in loader["resources"]["requests"]
    assert "--enforce-eager" not in server["command"]


def test_without_a_gpu_it_computes_on_cpus() -> None:
    _, server = containers(pod(of=deployment(engine={"resources": {"cpu": "1500m"}})))
    assert "--enforce-eager" in server["command"]
    assert env(server)["OMP_NUM_THREADS"] == "2"


def test_gateways_find_it_by_its_service() -> None:
    of, found = deployment(), made()
    service = serving_engine.engine_service(of, found["metadata"]["name"])
    assert service["metadata"]["name"] == found["metadata"]["name"]
    assert service["spec"]["selector"] == found["spec"]["selector"]["matchLabels"]
    assert serving_engine.engine_url(of, "intents-e-1") == "http://intents-e-1.team.svc:8000"


def test_no_two_pods_of_engines_go_at_a_time() -> None:
    of = deployment()
    budget = serving_engine.engine_budget(of, {"intents-e-2", "intents-e-1"})
    assert (budget["metadata"]["name"], budget["spec"]["maxUnavailable"]) == ("intents-engines", 1)
    labels = {"stagecoach.dev/uid": of.metadata.uid, "stagecoach.dev/component": "engine"}
    named = {"key": "stagecoach.dev/engine", "operator": "In", "values": ["intents-e-1", "intents-e-2"]}
    assert budget["spec"]["selector"] == {"matchLabels": labels, "matchExpressions": [named]}


def test_engines_are_reached_by_their_gateways_and_loaders_by_the_operator() -> None:
    of = deployment()
    spec = serving_engine.engine_policy(of, settings())["spec"]
    uid = of.metadata.uid
    assert spec["podSelector"]["matchLabels"] == {"stagecoach.dev/uid": uid, "stagecoach.dev/component": "engine"}
    gateways, operator = spec["ingress"]
    namespace = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "stagecoach-system"}}}
    assert gateways["from"] == [
        {"podSelector": {"matchLabels": {"stagecoach.dev/uid": uid, "stagecoach.dev/component": "gateway"}}},
        namespace | {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "prometheus"}}},
    ]
    assert [item["port"] for item in gateways["ports"]] == [8000]
    assert operator["from"] == [namespace]
    assert [item["port"] for item in operator["ports"]] == [8001]


def test_a_pod_that_leaves_stays_until_no_gateway_sends_it_requests() -> None:
    """Nodes hear of it first, and gateways use a connection that leads to it for as long as they keep one."""
    assert HEARD_OF.total_seconds() + limits.ENGINE_AGE_SECONDS < LEAVING_SECONDS
