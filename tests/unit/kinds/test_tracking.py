"""Tracking: it reaches a training's pod, says in the status how it went, and decides nothing."""

import json
import re

import pytest

from stagecoach.api.pods import PodSettings
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs
from stagecoach.contract.access import Credential
from stagecoach.contract.jobs import LookupJob
from stagecoach.contract.tracking import Tracking
from stagecoach.contract.uris import TRACKING_URI_PATTERN
from stagecoach.kinds import contracts
from stagecoach.kinds.transformerproject.reconcile import resolve_job
from tests import builders
from tests.unit.kinds.test_finetunerun import start, world
from tests.unit.kinds.world import World

WHOLE = "Artifact and record are whole."
URI = "https://mlflow.example.com"
TRACKING = {"mlflow": {"uri": URI}}


def tracked(*credentials: builders.Object) -> builders.Object:
    project = builders.ready_project()
    project["spec"] |= {"tracking": TRACKING, "credentials": list(credentials)}
    return project


def pod_of(here: World) -> builders.Object:
    [job] = here.job_objects.values()
    pod: builders.Object = job["spec"]["template"]["spec"]
    return pod


def environment(pod: builders.Object) -> dict[str, str]:
    return {item["name"]: item["value"] for item in pod["containers"][0]["env"]}


def test_a_training_is_told_where_and_its_digest_is_the_same() -> None:
    plain, here = world(builders.run()), world(builders.run(), tracked())
    for each in (plain, here):
        start(each)
    assert json.loads(environment(pod_of(here))["STAGECOACH_TRACKING"]) == {"mlflow": URI}
    assert "STAGECOACH_TRACKING" not in environment(pod_of(plain))
    assert here.status["inputs"]["digest"] == plain.status["inputs"]["digest"]
    assert environment(pod_of(here))["STAGECOACH_JOB"] == environment(pod_of(plain))["STAGECOACH_JOB"]


def test_a_project_is_not_read_again_for_it() -> None:
    written = (builders.project(tracking=TRACKING), builders.project())
    with_it, without = (TransformerProject.model_validate(builders.stored(item)) for item in written)
    assert resolve_job(with_it) == resolve_job(without)


@pytest.mark.parametrize(
    ("match", "storage", "expected"),
    [
        ("https://mlflow.example.com/", "pvc://store/desk", {"optional": True}),
        ("https://other.example.com/", "pvc://store/desk", None),
        ("s3://lake/", "s3://lake/desk", {}),
    ],
)
def test_a_secret_for_tracking_alone_keeps_no_pod_from_starting(
    match: str, storage: str, expected: builders.Object | None
) -> None:
    project = TransformerProject.model_validate(builders.stored(builders.project()))
    work = jobs.Work(
        name="job",
        document=LookupJob(subject=contracts.subject(project), inputs_digest=builders.digest("1")),
        image="i",
        pull_policy="Always",
        storage=storage,
        sources=(),
        demand=jobs.SMALL,
        pods=PodSettings(),
        seconds=1,
        keep_seconds=1,
        credentials=(Credential(match=match, secret="keys"),),
        tracking=Tracking(mlflow=URI),
    )
    volumes = jobs.job(project, work)["spec"]["template"]["spec"]["volumes"]
    secrets = [item["secret"] for item in volumes if "secret" in item]
    plain = {"secretName": "keys", "defaultMode": 0o440}
    assert secrets == ([] if expected is None else [plain | expected])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"mlflow": URI, "run": "abc"}, ("True", "Told", f"MLflow at {URI} has this training as run abc.")),
        ({"mlflow": URI, "problem": "It is away."}, ("False", "TrackingFailed", f"It is away. {WHOLE}")),
        (None, None),
    ],
)
def test_the_status_says_how_it_went_and_the_run_succeeds(
    told: builders.Object | None, expected: tuple[str, str, str] | None
) -> None:
    here = world(builders.run(), tracked())
    start(here)
    report = builders.artifact_report()
    if told:
        report["artifact"]["tracking"] = told
    here.end_pods(report)
    here.reconcile()
    assert (here.status["phase"], here.condition("Ready")["status"]) == ("Succeeded", "True")
    found = [item for item in here.status["conditions"] if item["type"] == "Tracked"]
    assert [(item["status"], item["reason"], item["message"]) for item in found] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("uri", "taken"),
    [
        ("https://mlflow.example.com", True),
        ("http://mlflow:5000", True),
        ("http://mlflow.mlops.svc:5000/prefix/", True),
        ("http://10.1.2.3:5000", True),
        ("ftp://mlflow.example.com", False),
        ("https://", False),
        ("https://me:word@mlflow.example.com", False),
        ("https://mlflow.example.com/../x", False),
        ("https://mlflow.example.com/?key=1", False),
        ("databricks", False),
    ],
)
def test_where_a_server_may_be(uri: str, taken: bool) -> None:
    assert bool(re.match(TRACKING_URI_PATTERN, uri)) is taken
