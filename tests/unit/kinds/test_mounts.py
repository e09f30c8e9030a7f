"""What is mounted into a Job's pod: what it needs, and nothing else."""

import json
from typing import Any

import pytest

from stagecoach.api.pods import PodSettings
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs
from stagecoach.contract.access import Credential
from stagecoach.contract.jobs import LookupJob
from stagecoach.kinds import contracts
from tests import builders

PROJECT = TransformerProject.model_validate(builders.stored(builders.project()))
CREDENTIALS = (Credential(match="s3://lake/", secret="lake"), Credential(match="s3://lake/desk", secret="desk"))


def pod(storage: str, *sources: str, credentials: tuple[Credential, ...] = CREDENTIALS) -> dict[str, Any]:
    work = jobs.Work(
        name="job",
        document=LookupJob(subject=contracts.subject(PROJECT), inputs_digest=builders.digest("1")),
        image="i",
        pull_policy="Always",
        storage=storage,
        sources=sources,
        demand=jobs.SMALL,
        pods=PodSettings(),
        seconds=1,
        keep_seconds=1,
        credentials=credentials,
    )
    result: dict[str, Any] = jobs.job(PROJECT, work)["spec"]["template"]["spec"]
    return result


def mounted(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what is mounted, by path: a claim's, ConfigMap's or Secret's name, and `!` when it can be written."""
    volumes = {item["name"]: item for item in spec["volumes"]}
    found = {}
    for mount in spec["containers"][0]["volumeMounts"]:
        (source,) = [value for key, value in volumes.pop(mount["name"]).items() if key != "name"]
        name = source.get("claimName") or source.get("secretName") or source.get("name", "")
        found[mount["mountPath"].removeprefix("/stagecoach/")] = name + ("" if mount.get("readOnly") else "!")
    assert volumes == {}, "every volume is mounted"
    return found


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["pvc://store/desk"], {"storage": "store!"}),
        (["pvc://store", "configmap://c/a.csv"], {"storage": "store!", "configmap/c": "c"}),
        (["s3://elsewhere"], {}),
        (["s3://lake/a", "pvc://models/m"], {"pvc/models": "models", "credentials/lake": "lake"}),
        (["s3://lake/a", "s3://lake/b", "s3://lake/desk/c"], {"credentials/desk": "desk", "credentials/lake": "lake"}),
        (["pvc://store", "s3://lake/desk"], {"storage": "store!", "credentials/desk": "desk"}),
    ],
)
def test_only_what_is_needed_is_mounted(uris: list[str], expected: dict[str, str]) -> None:
    assert mounted(pod(*uris)) == {"scratch": "!"} | expected


def test_secrets_are_files_for_the_pods_group_only() -> None:
    spec = pod("s3://lake/a")
    assert {"secret": {"secretName": "lake", "defaultMode": 0o440}, "name": "secret-1"} in spec["volumes"]
    assert spec["securityContext"]["fsGroup"] == 65532
    environment = {item["name"]: item for item in spec["containers"][0]["env"]}
    assert all(set(item) == {"name", "value"} for item in environment.values())
    assert json.loads(environment["STAGECOACH_ACCESS"]["value"]) == {
        "storage": "s3://lake/a",
        "credentials": [item.document() for item in CREDENTIALS],
    }


def test_a_project_on_claims_is_told_nothing_new() -> None:
    assert [item["name"] for item in pod("pvc://store", credentials=())["containers"][0]["env"]] == ["STAGECOACH_JOB"]


def test_other_credentials_are_another_attempt_and_none_are_what_they_were() -> None:
    from stagecoach.contract.digests import digest_of_document
    from stagecoach.kinds.transformerproject.reconcile import _pods_identity

    given = [{"match": "s3://lake/", "secret": {"name": name}} for name in ("one", "other")]
    projects = [builders.stored(builders.project(credentials=[item])) for item in given]
    one, other = (_pods_identity(TransformerProject.model_validate(item)) for item in projects)
    assert len({one, other, _pods_identity(PROJECT)}) == 3
    assert _pods_identity(PROJECT) == digest_of_document(PROJECT.spec.pods.document())
