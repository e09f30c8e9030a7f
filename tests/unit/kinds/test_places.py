"""A run whose storage, data and base model are not mounted."""

import json

from stagecoach.kinds.finetunerun.reconcile import CONTROLLER
from tests import builders
from tests.unit.kinds.world import World

COMMIT, DATA_COMMIT = "c" * 40, "d" * 40
CREDENTIALS = [
    {"match": "s3://", "secret": {"name": "lake"}},
    {"match": "hf://", "secret": {"name": "hub"}},
    {"match": "https://data.example.com", "secret": {"name": "unused"}},
]


def project() -> builders.Object:
    result = builders.ready_project()
    result["spec"]["storage"] = {"uri": "s3://store/desk"}
    result["spec"]["candidates"][0]["model"] = {"uri": "hf://desk/small", "revision": "main"}
    result["spec"]["credentials"] = CREDENTIALS
    place = {"uri": "hf://datasets/desk/cards/train.csv", "hub": {"revision": "main"}}
    result["spec"]["data"]["sets"][0] |= place
    whole = {"uri": "hf://datasets/desk/cards", "hub": {"config": "en", "split": "dev"}}
    result["spec"]["data"]["sets"][1] |= whole
    result["status"]["candidates"][0]["revision"] = COMMIT
    result["status"]["datasets"][0]["revision"] = DATA_COMMIT
    return result


def run_of(here: World) -> tuple[builders.Object, builders.Object]:
    """Return the pod and the document of the run's first Job."""
    here.reconcile()
    here.reconcile()
    (job,) = here.job_objects.values()
    pod = job["spec"]["template"]["spec"]
    environment = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
    return pod, json.loads(environment["STAGECOACH_JOB"])


def test_it_gets_the_secrets_that_it_needs_and_no_claim() -> None:
    pod, _ = run_of(World(CONTROLLER, builders.stored(builders.run()), project()))
    assert {item["secret"]["secretName"] for item in pod["volumes"] if "secret" in item} == {"lake", "hub"}
    assert not any("persistentVolumeClaim" in item for item in pod["volumes"])


def test_it_trains_on_the_commits_that_were_resolved() -> None:
    here = World(CONTROLLER, builders.stored(builders.run()), project())
    _, document = run_of(here)
    assert document["base"]["revision"] == COMMIT
    assert here.status["inputs"]["baseRevision"] == COMMIT
    assert [item["revision"] for item in document["train"]] == [DATA_COMMIT]
    assert [item.get("revision") for item in here.status["inputs"]["train"]] == [DATA_COMMIT]
    assert "hub" not in document["train"][0], "it is one file"
    assert document["validation"][0]["hub"] == {"config": "en", "split": "dev"}
    assert "revision" not in document["validation"][0]


def test_neither_place_nor_commit_is_part_of_its_identity() -> None:
    mounted = World(CONTROLLER, builders.stored(builders.run()), builders.ready_project())
    elsewhere = World(CONTROLLER, builders.stored(builders.run()), project())
    for here in (mounted, elsewhere):
        here.reconcile()
    assert mounted.status["inputs"]["digest"] == elsewhere.status["inputs"]["digest"]
    assert "baseRevision" not in mounted.status["inputs"]
