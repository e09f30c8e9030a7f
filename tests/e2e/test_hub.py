"""A base model and a data set from a hub that asks for a token."""

import pytest

from tests import builders
from tests.e2e import servers
from tests.e2e.conftest import BASES, DATA, LATE, SMALL, Desk, Ground, tiny_project

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


def project(
    desk: Desk, name: str, keys: str = HUB, base: str = "desk/tiny", revision: str = "main", **split: str
) -> builders.Object:
    """Return a project whose base model and training set are in the hub."""
    model = {"uri": f"hf://{base}", "revision": revision}
    train, valid = builders.project_spec()["data"]["sets"][:2]
    train |= {"uri": "hf://datasets/desk/rows", "hub": {"split": "train"} | split}
    return tiny_project(
        desk.namespace,
        name,
        data={"sets": [train, valid]},
        candidates=[{"name": "small", "model": model, "license": "Apache-2.0"}],
        credentials=[{"match": "hf://", "secret": {"name": keys}}],
    )


# By project: what it asks the hub for, and the reason, field, value and remedy that it is told.
REFUSED: dict[str, tuple[dict[str, str], str, str, str]] = {
    "thief": (
        *({"keys": "stolen"}, "SourceMissing"),  # the hub tells strangers nothing
        *("data.sets[train].uri (hf://datasets/desk/rows): the token in Secret stolen was not", "into Secret stolen"),
    ),
    "no-base": (
        *({"base": "desk/none"}, "BaseMissing"),
        *("candidates[small].model.uri (hf://desk/none): there is no such repository, or", "Correct the URI."),
    ),
    "no-revision": (
        *({"revision": "v2"}, "RevisionMissing"),
        *("candidates[small].model.revision: hf://desk/tiny has no revision 'v2'.", "Name a commit, a branch or a tag"),
    ),
    "no-config": (
        *({"config": "fr"}, "ConfigMissing"),
        *("data.sets[train].hub.config: there is no config 'fr'; there are none.", "Leave hub.config out."),
    ),
    "no-split": (
        *({"split": "dev"}, "SplitMissing"),
        *("data.sets[train].hub.split: there is no split 'dev'; there are train,", "Set hub.split to one of them."),
    ),
}


def test_a_hub_gives_model_and_data_for_a_token_of_a_secret_and_says_what_it_does_not_give(
    ground: Ground, desk: Desk
) -> None:
    desk.data(DATA)
    desk.claim("store")
    keys = TOKEN | {"HF_ENDPOINT": servers.url(desk, HUB, PORT)}
    servers.secret(desk, HUB, keys)
    servers.secret(desk, "stolen", keys | {"token": "another"})
    start_hub(desk, ground.tests_image)
    servers.await_ready(desk, HUB)

    desk.apply(project(desk, "desk"), *(project(desk, name, **asked) for name, (asked, *_) in REFUSED.items()))
    for name, (_, reason, what, remedy) in REFUSED.items():
        message = desk.awaits_reason("txp", name, reason)
        assert message.startswith(what)
        assert remedy in message
    resolved = desk.awaits("txp", "desk", "Ready")["status"]
    assert [item["revision"] for item in resolved["candidates"]] == [COMMIT]
    assert [item.get("revision") for item in resolved["datasets"]] == [COMMIT, None]

    desk.apply(builders.run("first", desk.namespace, resources=SMALL))
    run = desk.awaits("ftr", "first", "Succeeded", "Failed", seconds=LATE)
    assert run["status"]["phase"] == "Succeeded", desk.ready("ftr", "first")
    assert run["status"]["inputs"]["baseRevision"] == COMMIT
    assert run["status"]["inputs"]["train"][0]["revision"] == COMMIT
