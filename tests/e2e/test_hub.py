"""A base model and a data set from a hub that asks for a token."""

import pytest

from tests import builders
from tests.e2e import servers
from tests.e2e.conftest import BASES, DATA, SMALL, Desk, Ground, tiny_project

pytestmark = pytest.mark.long

HUB = "hub"
PORT = 8000
TOKEN = {"token": "not-a-secret"}
# The hub-compatible server of the trainer's own tests, which is in the image of these.
SERVE = f"exec python3 -m tests.unit.trainer.hub_server {BASES}/small {PORT} /rows"
COMMIT = "b" * 40  # what that server's branch main stands for


def start_hub(desk: Desk, image: str) -> None:
    """Start the hub; it asks for the token of the Secret of its name."""
    reference = {"secretKeyRef": {"name": HUB, "key": "token"}}
    container = {
        "image": image,
        "command": ["sh", "-ec", SERVE],
        "env": [{"name": "HUB_TOKEN", "valueFrom": reference}],
        "volumeMounts": [{"name": "rows", "mountPath": "/rows"}],
        "readinessProbe": {"tcpSocket": {"port": PORT}},
    }
    servers.start(desk, HUB, [PORT], container, [{"name": "rows", "configMap": {"name": "desk"}}])


def project(namespace: str, name: str, keys: str = HUB, revision: str = "main") -> builders.Object:
    """Return a project whose base model and training set are in the hub."""
    model = {"uri": "hf://desk/tiny", "revision": revision}
    train, valid = builders.project_spec()["data"]["sets"][:2]
    train |= {"uri": "hf://datasets/desk/rows", "hub": {"split": "train"}}
    return tiny_project(
        namespace,
        name,
        data={"sets": [train, valid]},
        candidates=[{"name": "small", "model": model, "license": "Apache-2.0"}],
        credentials=[{"match": "hf://", "secret": {"name": keys}}],
    )


def test_a_hub_gives_model_and_data_for_a_token_of_a_secret(ground: Ground, desk: Desk) -> None:
    desk.data(DATA)
    desk.claim("store")
    keys = TOKEN | {"HF_ENDPOINT": servers.url(desk, HUB, PORT)}
    servers.secret(desk, HUB, keys)
    servers.secret(desk, "stolen", keys | {"token": "another"})
    start_hub(desk, ground.tests_image)
    servers.await_ready(desk, HUB)

    thief, typo = project(desk.namespace, "thief", "stolen"), project(desk.namespace, "typo", revision="v2")
    desk.apply(project(desk.namespace, "desk"), thief, typo)
    refused = desk.awaits_reason("txp", "thief", "SourceMissing")  # the hub tells strangers nothing
    assert "data.sets[train].uri (hf://datasets/desk/rows)" in refused
    assert "the token in Secret stolen was not accepted" in refused
    missing = desk.awaits_reason("txp", "typo", "RevisionMissing")
    assert "candidates[small].model.revision: " in missing
    assert "desk/tiny has no revision 'v2'" in missing
    resolved = desk.awaits("txp", "desk", "Ready")["status"]
    assert [item["revision"] for item in resolved["candidates"]] == [COMMIT]
    assert [item.get("revision") for item in resolved["datasets"]] == [COMMIT, None]

    desk.apply(builders.run("first", desk.namespace, resources=SMALL))
    run = desk.awaits("ftr", "first", "Succeeded", "Failed", seconds=600)
    assert run["status"]["phase"] == "Succeeded", desk.ready("ftr", "first")
    assert run["status"]["inputs"]["baseRevision"] == COMMIT
    assert run["status"]["inputs"]["train"][0]["revision"] == COMMIT
