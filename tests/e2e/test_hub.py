"""A base model from a hub that asks for a token."""

from tests import builders, deploy
from tests.e2e.conftest import DATA, SMALL, TINY_BASE, Desk, Ground, tiny_project

HUB = "hub"
PORT = 8000
TOKEN = {"token": "not-a-secret"}
# The hub-compatible server of the trainer's own tests, which is in the image of these.
SERVE = f"python3 /script/{TINY_BASE.name} /data/tiny; exec python3 -m tests.unit.trainer.hub_server /data/tiny {PORT}"
COMMIT = "b" * 40  # what that server's branch main stands for


def server(image: str) -> builders.Object:
    """Return the pod of the hub, from the pod of a Job that restricted namespaces admit."""
    reference = {"secretKeyRef": {"name": HUB, "key": "token"}}
    container = {
        "image": image,
        "command": ["sh", "-ec", SERVE],
        "env": [{"name": "HUB_TOKEN", "valueFrom": reference}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "script", "mountPath": "/script"}],
        "readinessProbe": {"tcpSocket": {"port": PORT}},
    }
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "script", "configMap": {"name": "tiny-base"}}]
    spec = deploy.restricted_job(HUB, container, volumes)["spec"]["template"]["spec"]
    metadata = {"name": HUB, "labels": {"app": HUB}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def service() -> builders.Object:
    """Return the Service in front of the hub."""
    spec = {"selector": {"app": HUB}, "ports": [{"port": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": HUB}, "spec": spec}


def secret(name: str, namespace: str, **changes: str) -> builders.Object:
    """Return a Secret for the hub."""
    keys = TOKEN | {"HF_ENDPOINT": f"http://{HUB}.{namespace}.svc:{PORT}"} | changes
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}


def project(namespace: str, name: str, keys: str) -> builders.Object:
    """Return a project whose base model is in the hub."""
    model = {"uri": "hf://desk/tiny", "revision": "main"}
    return tiny_project(
        namespace,
        name,
        candidates=[{"name": "small", "model": model, "license": "Apache-2.0"}],
        credentials=[{"match": "hf://", "secret": {"name": keys}}],
    )


def test_a_base_model_of_a_hub_is_trained_with_a_token_of_a_secret(ground: Ground, desk: Desk) -> None:
    desk.data(DATA)
    desk.data({TINY_BASE.name: TINY_BASE.read_text()}, name="tiny-base")
    desk.claim("store")
    desk.apply(secret(HUB, desk.namespace), secret("stolen", desk.namespace, token="another"))
    desk.apply(server(ground.tests_image), service())
    desk.tools.kubectl("wait", "-n", desk.namespace, "--for=condition=ready", f"pod/{HUB}", "--timeout=5m")

    desk.apply(project(desk.namespace, "desk", HUB), project(desk.namespace, "thief", "stolen"))
    assert "token" in desk.awaits_reason("txp", "thief", "BaseMissing"), "the hub tells strangers nothing"
    resolved = desk.awaits("txp", "desk", "Ready")
    assert [item["revision"] for item in resolved["status"]["candidates"]] == [COMMIT]

    desk.apply(builders.run("first", desk.namespace, resources=SMALL))
    run = desk.awaits("ftr", "first", "Succeeded", "Failed", seconds=600)
    assert run["status"]["phase"] == "Succeeded", desk.ready("ftr", "first")
    assert run["status"]["inputs"]["baseRevision"] == COMMIT
