"""A gate on the cluster: what is good passes, what learned nonsense fails, what has seen the answers fails, once each."""

import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagecoach.build.labels import GROUP, OWNER_UID
from stagecoach.contract import layout, mounts
from tests import builders, deploy
from tests.e2e.conftest import LATE, SMALL, SOON, Desk, Ground, new_desk
from tests.integration.plugin.conftest import Person, acting_as
from tests.integration.support.eventually import eventually

POLL_SECONDS = 0.5
QA = "qa@example.com"
WORDS = {
    "delivery": ("where is parcel {}", "parcel {} is late", "when does parcel {} come"),
    "billing": ("my bill {} is wrong", "bill {} was paid twice", "why is bill {} so high"),
}


def rows(numbers: range, *, shuffled: bool = False) -> str:
    """Return a file of messages with these numbers; with `shuffled` each has any label."""
    found = [(words[n % 3].format(n), label) for n in numbers for label, words in WORDS.items()]
    labels = [label for _, label in found]
    if shuffled:
        random.Random(3).shuffle(labels)  # noqa: S311
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("text", "label"), *zip((message for message, _ in found), labels, strict=True)])
    return text.getvalue()


TRAIN = rows(range(100, 160))
DATA = {
    "train.csv": TRAIN,
    "shuffled.csv": rows(range(200, 260), shuffled=True),
    "valid.csv": rows(range(300, 306)),
    "test.csv": rows(range(400, 430)),
    "canary.csv": rows(range(600, 606)),
    "unasked.csv": rows(range(700, 706)),
    # Two of its rows are rows of the training data, one of them in other letters.
    "leaked.csv": rows(range(500, 510))
    + TRAIN.splitlines()[1]
    + "\n"
    + TRAIN.splitlines()[4].upper().replace("BILLING", "billing")
    + "\n",
}
SETS = [
    {"name": name, "uri": f"configmap://desk/{name}.csv", "split": split}
    for name, split in (
        ("train", "Train"),
        ("shuffled", "Train"),
        ("valid", "Validation"),
        ("test", "Test"),
        ("leaked", "Test"),
        ("canary", "Canary"),
        ("unasked", "Test"),
    )
]
# The project's reading finds the rows first; the gate does not rely on that.
KNOWN = {"finding": "Leakage", "reason": "It is for a gate to find.", "by": "tests"}
GOOD: list[builders.Object] = [
    {"name": "good", "suite": "held-out", "metric": "accuracy", "min": 0.9, "confidence": 0.9},
    {
        "name": "worth-it",
        "suite": "held-out",
        "metric": "f1_macro",
        "against": "Baseline",
        "minGain": {"absolute": 0.1},
    },
]
# A whole model of a few thousand weights learns this in seconds.
LEARNS = {
    "method": {"type": "Full"},
    "hyperparameters": {"learningRate": 3.0e-3, "epochs": 8, "perDeviceBatchSize": 8},
    "resources": SMALL,
}


def gate(
    name: str, namespace: str, dataset: str = "test", criteria: list[builders.Object] = GOOD, **changes: Any
) -> builders.Object:
    spec = {
        "project": "desk",
        "suites": [{"name": "held-out", "dataset": dataset, "type": "HeldOut"}],
        "criteria": criteria,
        "resources": SMALL,
    } | changes
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "EvalGate", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def judged(ground: Ground) -> Iterator[Desk]:
    """A namespace with a run that learned, and a gate."""
    with new_desk(ground) as made:
        made.bases()
        made.claim("store")
        made.data(DATA)
        made.apply(
            builders.project("desk", made.namespace, data={"sets": SETS}, accepted=[KNOWN]),
            builders.run("learned", made.namespace, **LEARNS),
            gate("desk", made.namespace),
        )
        trained(made, "learned")
        yield made


def trained(desk: Desk, name: str) -> None:
    assert desk.awaits("ftr", name, "Succeeded", "Failed")["status"]["phase"] == "Succeeded"


def evaluation(desk: Desk, gate_name: str, run: str, seconds: float = LATE, phase: str = "Decided") -> builders.Object:
    """Return the Evaluation of a run by a gate once it is in a phase."""

    def look() -> builders.Object | None:
        found = desk.kube.select("Evaluation", f"{GROUP}/gate={gate_name},{GROUP}/run={run}")
        return next((item for item in found if item.get("status", {}).get("phase") == phase), None)

    found = eventually(look, seconds, f"run {run} is {phase} at gate {gate_name}", every=POLL_SECONDS)
    assert found
    return found


def read(desk: Desk, found: builders.Object, name: str) -> str:
    """Return a file of an Evaluation's in the storage."""
    return read_file(desk, f"{mounts.STORAGE}/{layout.evaluation_folder(found['spec']['key'])}/{name}")


def read_file(desk: Desk, path: str) -> str:
    """Return a file of the project's storage."""
    reads = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    places = {
        "support-desk-data": "desk",
        "subPath: support-desk": "subPath: desk",
        "claimName: stagecoach": "claimName: store",
    }
    return deploy.run_trainer(
        desk.tools, desk.namespace, "learned", "read", {"command": ["cat", path], "resources": reads}, adapted=places
    )


def test_what_learned_passes_and_the_record_says_what_the_status_says(judged: Desk) -> None:
    found = evaluation(judged, "desk", "learned")
    status = found["status"]
    assert status["verdict"] == "Passed", status
    record = json.loads(read(judged, found, "record.json"))
    assert record["verdict"] == "Passed"
    assert [item["criterion"] for item in record["results"]] == ["good", "worth-it"]
    assert {item["criterion"]: item["value"] for item in record["results"]} == {
        item["criterion"]: item["value"] for item in status["results"]
    }
    assert "<html" in read(judged, found, "report.html")


@pytest.mark.long
def test_what_learned_nonsense_fails(judged: Desk) -> None:
    nonsense = LEARNS | {"data": {"train": [{"name": "shuffled"}]}}
    judged.apply(builders.run("nonsense", judged.namespace, **nonsense))
    trained(judged, "nonsense")
    status = evaluation(judged, "desk", "nonsense")["status"]
    assert status["verdict"] == "Failed", status


def test_a_gate_whose_rows_were_trained_on_fails_and_names_them(judged: Desk) -> None:
    judged.apply(gate("leaky", judged.namespace, "leaked", GOOD[:1]))
    found = evaluation(judged, "leaky", "learned")
    status = found["status"]
    assert status["verdict"] == "Failed", status
    assert status["leaked"] == 2, status
    assert "2 rows are in the training data too (leaked.csv:22, leaked.csv:23)" in status["message"]
    record = json.loads(read(judged, found, "record.json"))
    assert record["suites"][0]["leaked"] == ["leaked.csv:22", "leaked.csv:23"], "by lines of the file"


@pytest.mark.long
def test_a_gate_with_too_little_memory_says_what_to_raise(judged: Desk) -> None:
    """Of rows that nobody was asked yet: for answers that are kept no model is loaded."""
    resources = SMALL | {"memory": "100Mi"}
    judged.apply(gate("short", judged.namespace, "unasked", GOOD[:1], resources=resources))
    status = evaluation(judged, "short", "learned")["status"]
    [ready] = [each for each in status["conditions"] if each["type"] == "Ready"]
    assert (status["verdict"], ready["reason"]) == ("Error", "OutOfMemory"), status
    assert "raise spec.resources.memory (100Mi) of EvalGate 'short'" in ready["message"]


@pytest.mark.long
def test_people_see_the_rows_of_the_report_and_let_it_pass(judged: Desk, tmp_path: Path) -> None:
    reviewed = gate("reviewed", judged.namespace, review={"suite": "canary", "reviewers": [{"user": QA}]})
    reviewed["spec"]["suites"].append({"name": "canary", "dataset": "canary", "type": "Canary"})
    judged.apply(reviewed)
    found = evaluation(judged, "reviewed", "learned", phase="AwaitingReview")
    assert "verdict" not in found["status"]
    suites = json.loads(read(judged, found, "report.json"))["suites"]
    [canaries] = [suite["canaries"] for suite in suites if suite["name"] == "canary"]
    said = ("input", "expected", "candidate", "baseline")
    told = [{"row": row["place"]} | {name: row[name] for name in said} for row in canaries]
    assert found["status"]["review"]["rows"] == told
    texts = list(csv.DictReader(io.StringIO(DATA["canary.csv"])))
    assert [(row["input"], row["expected"]) for row in told] == [(row["text"], row["label"]) for row in texts]

    api = "rbac.authorization.k8s.io"
    bound = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reviewers"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": f"{deploy.RELEASE}-reviewer"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": QA}],
    }
    judged.apply(bound)
    reviewer = Person(acting_as(judged.kube.kubeconfig, tmp_path, QA), judged.namespace)
    answer = reviewer.run("approve", found["metadata"]["name"], "--yes")
    assert answer.code == 0, answer
    status = evaluation(judged, "reviewed", "learned")["status"]
    assert (status["verdict"], status["review"]["rows"]) == ("Passed", told)
    assert [each["reviewer"] for each in status["review"]["approvals"]] == [QA]


@pytest.mark.long
def test_another_criterion_asks_the_model_nothing_and_an_evaluation_that_comes_back_computes_nothing(
    judged: Desk,
) -> None:
    first = evaluation(judged, "desk", "learned")
    looser = [{**GOOD[0], "min": 0.5}]
    judged.apply(gate("looser", judged.namespace, criteria=looser))
    found = evaluation(judged, "looser", "learned")
    pod = judged.kube.select("Pod", f"{OWNER_UID}={found['metadata']['uid']}")[0]
    assert "all answers are kept in the storage: nobody is asked" in judged.kube.log(pod["metadata"]["name"])

    judged.kube.delete("Evaluation", first["metadata"]["name"])

    def again() -> builders.Object | None:
        known = judged.kube.find("Evaluation", first["metadata"]["name"])
        new = known is not None and known["metadata"]["uid"] != first["metadata"]["uid"]
        return known if new and known and known.get("status", {}).get("phase") == "Decided" else None

    back = eventually(again, SOON, "the Evaluation is made again", every=POLL_SECONDS)
    assert back
    assert back["status"]["report"]["adopted"]
    assert back["status"]["results"] == first["status"]["results"]
    assert back["status"]["report"]["digest"] == first["status"]["report"]["digest"]
