"""Names of objects, and what a project says about its pods: all that Kubernetes allows, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import jobs, labels
from stagecoach.contract.jobs import LookupJob
from stagecoach.kinds import contracts
from stagecoach.policies import pods
from tests import builders
from tests.integration.kinds.admission import put, refused, take, written
from tests.kube import Kube

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
OBJECT = "must be the name of an object: lower-case letters, digits, '-' and '.'"
KEY = "must be <name> or <domain>/<name>: the name of at most 63"
VALUE = "with a letter or digit at both ends, or be empty"


@pytest.mark.parametrize("builder", [builders.project, builders.run])
@pytest.mark.parametrize(
    ("name", "taken"), [("a" * 50, True), ("a" * 51, False), ("a.b", False), ("1", True), ("a--b", True)]
)
def test_names_leave_room_for_those_of_jobs(
    kube: Kube, builder: Callable[..., builders.Object], name: str, taken: bool
) -> None:
    obj = builder(name=name, namespace=kube.namespace)
    if taken:
        kube.create(obj)
    else:
        assert "DNS label of at most 50 characters" in refused(kube, obj)


def settings(namespace: str, **given: Any) -> builders.Object:
    """Return a project with these settings of its pods."""
    return written(builders.project, namespace, put("pods", given))


NAMES: dict[str, Callable[[str], dict[str, Any]]] = {
    "serviceAccountName": lambda name: {"serviceAccountName": name},
    "priorityClassName": lambda name: {"priorityClassName": name},
    "imagePullSecrets": lambda name: {"imagePullSecrets": [{"name": name}]},
}


@pytest.mark.parametrize("setting", NAMES.values(), ids=NAMES)
def test_names_of_other_objects_are_those_that_kubernetes_allows(
    kube: Kube, setting: Callable[[str], dict[str, Any]]
) -> None:
    for name in ("a", "1", "a.b-c.1", "a--b", LONGEST):
        take(kube, settings(kube.namespace, **setting(name)))
    for name in ("", "A", "a_b", "-a", "a-", "a..b", "a.-b", "a/b", "../a"):
        assert OBJECT in refused(kube, settings(kube.namespace, **setting(name)))
    assert "may not be more than 253" in refused(kube, settings(kube.namespace, **setting(LONGEST + "d")))


def test_a_queue_has_a_name_that_fits_into_a_label(kube: Kube) -> None:
    for name in ("gpu", "team-a.gpu", LONGEST[:63]):
        take(kube, settings(kube.namespace, queue=name))
    assert OBJECT in refused(kube, settings(kube.namespace, queue="team_a"))
    assert "may not be more than 63" in refused(kube, settings(kube.namespace, queue="a" * 64))


@pytest.mark.parametrize("name", ["a", "team.lake", LONGEST])
def test_secrets_and_claims_have_the_names_that_kubernetes_allows(kube: Kube, name: str) -> None:
    obj = written(builders.project, kube.namespace, put("storage.uri", f"pvc://{name}/desk"))
    obj["spec"]["data"]["sets"][0]["uri"] = f"configmap://{name}/a.csv"
    obj["spec"]["data"]["sets"][1]["uri"] = "s3://lake/a.csv"
    obj["spec"]["credentials"] = [{"match": "s3://lake/", "secret": {"name": name}}]
    take(kube, obj)
    obj["spec"]["credentials"][0]["secret"]["name"] = f"../{name}"[:253]
    assert OBJECT in refused(kube, obj)


@pytest.mark.parametrize("field", ["labels", "nodeSelector"])
def test_labels_are_those_that_kubernetes_allows(kube: Kube, field: str) -> None:
    good = {"a": "", "A.b_c-1": "x" * 63, f"{LONGEST}/{'k' * 63}": "a.b_c-D", "1/2": "3"}
    many = {f"{LONGEST}/{'k' * 61}{number}": "x" * 63 for number in range(10, 42)}
    for taken in (good, many):
        take(kube, settings(kube.namespace, **{field: taken}))
    for key in ("", "-a", "a b", "a/", "/a", "a/b/c", "A/b", "a..b/c", "k" * 64, f"{LONGEST}d/k", "k" * 100_000):
        assert KEY in refused(kube, settings(kube.namespace, **{field: {key: "x"}}))
    for value in ("-a", "a b", "a/b", "ä"):
        assert VALUE in refused(kube, settings(kube.namespace, **{field: {"a": value}}))
    assert "may not be more than 63" in refused(kube, settings(kube.namespace, **{field: {"a": "x" * 64}}))
    assert "must have at most 32" in refused(kube, settings(kube.namespace, **{field: many | {"a": "b"}}))


@pytest.mark.parametrize(
    "key",
    [
        *(*labels.MANAGED_BY, labels.OWNER_KIND, labels.OWNER_NAME, labels.OWNER_UID, labels.REPORTS_PROGRESS),
        *(pods.JOB_NAME, pods.INDEX, "batch.kubernetes.io/controller-uid", "job-name", "controller-uid"),
    ],
)
def test_labels_by_which_jobs_and_pods_are_found_are_refused(kube: Kube, key: str) -> None:
    assert "Jobs and pods are found by them" in refused(kube, settings(kube.namespace, labels={key: "mine"}))
    take(kube, settings(kube.namespace, nodeSelector={key: "mine"}))


def test_a_queue_is_no_label_but_other_words_to_kueue_are(kube: Kube) -> None:
    assert "name the queue in pods.queue" in refused(kube, settings(kube.namespace, labels={pods.QUEUE: "gpu"}))
    others = {"kueue.x-k8s.io/priority-class": "high", "app.kubernetes.io/part-of": "support"}
    take(kube, settings(kube.namespace, queue="gpu", labels=others))


TOLERATIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "set operator Exists, or a key"),
    ({"operator": "Equal", "value": "a"}, "set operator Exists, or a key"),
    ({"key": "a", "operator": "Exists", "value": "b"}, "value is for operator Equal"),
    ({"key": "a", "tolerationSeconds": 60}, "tolerationSeconds is for effect NoExecute"),
    ({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 60}, "tolerationSeconds is for effect NoExecute"),
    ({"key": "a b"}, KEY),
    ({"key": "a", "value": "b/c"}, VALUE),
    ({"key": "a", "value": "b" * 64}, "may not be more than 63"),
]


@pytest.mark.parametrize(("toleration", "words"), TOLERATIONS, ids=str)
def test_a_toleration_is_refused_with_the_remedy(kube: Kube, toleration: dict[str, Any], words: str) -> None:
    assert words in refused(kube, settings(kube.namespace, tolerations=[toleration]))


def test_tolerations_are_those_that_kubernetes_allows(kube: Kube) -> None:
    several: list[dict[str, Any]] = [
        {"operator": "Exists"},
        {"key": "", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
        {"key": f"{LONGEST}/{'k' * 63}", "value": "x" * 63},
        {"key": "a", "operator": "Equal", "value": ""},
    ]
    take(kube, settings(kube.namespace, tolerations=several * 4))


@pytest.mark.parametrize(
    ("cpu", "memory"), [("999.999", "99Ti"), ("999999m", "99999999Mi"), ("0.001", "1000000"), ("1m", "1000k")]
)
def test_what_is_taken_makes_a_job_that_is_taken(kube: Kube, cpu: str, memory: str) -> None:
    project = TransformerProject.model_validate(
        kube.create(
            settings(
                kube.namespace,
                queue=LONGEST[:63],
                serviceAccountName=LONGEST,
                priorityClassName=LONGEST,
                imagePullSecrets=[{"name": LONGEST}],
                nodeSelector={f"{LONGEST}/{'k' * 63}": "x" * 63, "a": ""},
                labels={f"{LONGEST}/{'k' * 63}": "x" * 63, "a": ""},
                tolerations=[{"operator": "Exists"}, {"key": f"{LONGEST}/{'k' * 63}", "value": "x" * 63}],
            )
        )
    )
    take(kube, job(project, jobs.Demand(cpu, memory), f"pvc://{LONGEST}"))


def job(project: TransformerProject, demand: jobs.Demand, storage: str = "pvc://lake") -> builders.Object:
    """Return a Job of a project that asks for this."""
    work = jobs.Work(
        name=jobs.job_name(project, "resolve-1"),
        document=LookupJob(subject=contracts.subject(project), inputs_digest=builders.digest("1")),
        image="i",
        pull_policy="Always",
        storage=storage,
        sources=(),
        demand=demand,
        pods=project.spec.pods,
        seconds=1,
        keep_seconds=1,
    )
    return jobs.job(project, work)


# What a quota's name for it leaves to a domain.
LONGEST_DOMAIN = LONGEST[:244]
GPUS = {
    "nvidia.com/gpu": "",
    "amd.com/gpu": "",
    "a/b": "",
    "1.b-c/A_b.c-1": "",
    f"nvidia.com/{'g' * 63}": "",
    f"{LONGEST_DOMAIN}/g": "",
    "gpu": "must be <domain>/<name>, such as nvidia.com/gpu: the name of at most 63 letters",
    "-a/b": "must be <domain>/<name>",
    "nvidia.com/-x": "must be <domain>/<name>",
    "../x": "must be <domain>/<name>",
    "nvidia..com/gpu": "must be <domain>/<name>",
    "Nvidia.com/gpu": "must be <domain>/<name>",
    "nvidia.com/": "must be <domain>/<name>",
    "nvidia.com/gpu/1": "must be <domain>/<name>",
    f"nvidia.com/{'g' * 64}": "must be <domain>/<name>",
    f"{LONGEST_DOMAIN}d/g": "may not be more than 246",
    "requests.nvidia.com/gpu": "must be the name that nodes have, which does not begin with requests.",
}


@pytest.mark.parametrize(("name", "words"), GPUS.items(), ids=[name[:30] for name in GPUS])
def test_a_gpu_has_a_name_that_kubernetes_takes(kube: Kube, name: str, words: str) -> None:
    run = written(builders.run, kube.namespace, put("resources", {"gpusPerNode": 1, "gpuResource": name}))
    project = TransformerProject.model_validate(kube.create(builders.project(namespace=kube.namespace)))
    asking = job(project, jobs.Demand("1", "1Gi", name, gpus=1))
    if words:
        assert words in refused(kube, run)
        refused(kube, asking)
    else:
        take(kube, run)
        take(kube, asking)
