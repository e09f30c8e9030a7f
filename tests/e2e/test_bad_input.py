"""Bad data, bad models and missing things, in real pods: each ends in words that name the field and the remedy."""

from typing import Any

import pytest

from stagecoach.kinds.modeldeployment.pods import pod_of
from stagecoach.policies.attempts import IMAGE_PULL_REASONS
from stagecoach.policies.pods import CONTAINER, pod_state
from tests import builders, deploy
from tests.e2e.conftest import DATA, POLL_SECONDS, SMALL, SOON, Desk, tiny_project
from tests.integration.support.eventually import eventually

pytestmark = pytest.mark.long

GOOD = DATA["train.csv"]
LONG = "text,label\n" + "word " * 200 + ",delivery\n" + "short,billing\n"


def sets(uri: str = "configmap://desk/train.csv", **changes: Any) -> builders.Object:
    """Return changes that give the project one data set."""
    return {"data": {"sets": [{"name": "train", "uri": uri, "split": "Train"} | changes]}}


# name: the file's content, changes of the project, the reason, words of the message
CASES: dict[str, tuple[str, builders.Object, str, tuple[str, ...]]] = {
    "unknown-column": (GOOD, sets(columns={"text": "body"}), "UnknownColumn", ("data.sets[train].columns.text", "'body'", "'text', 'label'")),
    "empty-label": ("text,label\nhello,\n", sets(), "EmptyLabel", ("row 2", "column 'label' is empty")),
    "no-rows": ("text,label\n", sets(), "NoRows", ("there is no row",)),
    "broken-csv": ('text,label\n"hello,delivery\n', sets(), "BrokenCsv", ("Close every quote",)),
    "broken-json": ("{broken\n", sets("configmap://broken-json/train.jsonl"), "BrokenJson", ("line 1 is not JSON", "one JSON object on each line")),
    "one-label": ("text,label\na,b\nc,b\n", sets(), "TooFewLabels", ("1 different labels",)),
    "pinned": (GOOD, sets(digest=builders.digest("0")), "DigestMismatch", ("data.sets[train].digest", "Correct the pinned digest")),
    "no-file": (GOOD, sets("configmap://no-file/valid.csv"), "SourceMissing", ("data.sets[train].uri (configmap://no-file/valid.csv)",)),
    "too-long": (LONG, sets() | {"tokenization": {"maxLength": 64, "overflow": "Reject"}}, "RowTooLong", ("row 2", "64")),
    "no-base": (GOOD, sets() | {"candidates": [{"name": "small", "model": {"uri": "pvc://models/none"}}]}, "BaseMissing", ("candidates[small].model.uri (pvc://models/none)",)),
    "unicode": ("text,label\nWo ist mein Paket? 📦,доставка\n请退款,退款\n", sets(), "", ()),
}  # fmt: skip


def test_bad_data_ends_in_words(shelf: Desk) -> None:
    for name, (content, changes, _, _) in CASES.items():
        key = "train.jsonl" if name == "broken-json" else "train.csv"
        shelf.data({key: content}, name=name)
        [data] = changes["data"]["sets"]
        data["uri"] = data["uri"].replace("configmap://desk/", f"configmap://{name}/")
        shelf.apply(tiny_project(shelf.namespace, name, **changes))
    for name, (_, _, reason, words) in CASES.items():
        project = shelf.awaits("txp", name, "Incomplete", "Ready")
        ready = shelf.ready("txp", name)
        assert project["status"]["phase"] == ("Incomplete" if reason else "Ready"), ready
        assert ready["reason"] == (reason or "Resolved"), ready
        for word in words:
            assert word in ready["message"]
        if reason:
            assert "stagecoach.dev/requested-at" in ready["message"], "the way to look again"


def test_bytes_that_are_not_text_end_in_words(shelf: Desk) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bytes"},
        "binaryData": {"train.csv": "dGV4dCxsYWJlbAr/"},
    }
    shelf.apply(config, tiny_project(shelf.namespace, "bytes", **sets("configmap://bytes/train.csv")))
    assert "Save the file as UTF-8" in shelf.awaits_reason("txp", "bytes", "WrongEncoding")


def test_mended_data_is_read_again_when_asked_for(shelf: Desk) -> None:
    shelf.data({"train.csv": "text,label\nhello,\n"}, name="mended")
    shelf.apply(tiny_project(shelf.namespace, "mended", **sets("configmap://mended/train.csv")))
    shelf.awaits_reason("txp", "mended", "EmptyLabel")
    shelf.data({"train.csv": GOOD}, name="mended")
    shelf.tools.kubectl("annotate", "txp", "mended", "-n", shelf.namespace, "stagecoach.dev/requested-at=now")
    shelf.awaits("txp", "mended", "Ready")


def test_what_is_missing_is_waited_for(desk: Desk) -> None:
    desk.claim("store")
    desk.apply(tiny_project(desk.namespace))
    assert '"models" not found' in desk.awaits_reason("txp", "desk", "Unschedulable")
    desk.bases()
    assert 'configmap "desk" not found' in desk.awaits_reason("txp", "desk", "PodNotStarting")
    desk.data(DATA)
    desk.awaits("txp", "desk", "Ready")


def test_bad_runs_end_in_words(office: Desk) -> None:
    modules = {"type": "LoRA", "targetModules": {"names": ["nothing_proj"]}}
    [train, other] = builders.project_spec()["data"]["sets"][:2]
    tuned_on_test = {"train": [{"name": "train"}], "validation": [{"name": "test"}]}
    judge = {"name": "test", "uri": other["uri"], "split": "Test"}
    office.apply(tiny_project(office.namespace, "judged", data={"sets": [train, judge]}))
    office.awaits("txp", "judged", "Ready")
    office.apply(
        builders.run("modules", office.namespace, method=modules, resources=SMALL),
        builders.run("memory", office.namespace, resources={"cpu": "200m", "memory": "100Mi"}, force=True),
        builders.run("huge", office.namespace, resources={"cpu": "500", "memory": "1Gi"}, force=True),
        builders.run("valid", office.namespace, data={"train": [{"name": "valid"}]}),
        builders.run("test", office.namespace, project="judged", data={"train": [{"name": "train"}, {"name": "test"}]}),
        builders.run("tuned", office.namespace, project="judged", data=tuned_on_test),
    )
    unknown = office.awaits_reason("ftr", "modules", "UnknownTargetModule")
    assert "method.targetModules.names (nothing_proj)" in unknown
    assert "q_proj" in unknown, "what there is instead"
    assert "resources.memory" in office.awaits_reason("ftr", "memory", "OutOfMemory")
    assert "Insufficient cpu" in office.awaits_reason("ftr", "huge", "Unschedulable")
    assert "split Validation, not Train" in office.awaits_reason("ftr", "valid", "WrongSplit")
    assert "spec.data.train[test]" in office.awaits_reason("ftr", "test", "TestSplitUsed")
    assert "spec.data.validation[test]" in office.awaits_reason("ftr", "tuned", "TestSplitUsed")
    for name in ("valid", "test", "tuned"):
        assert not office.object("ftr", name)["status"].get("attempts"), "nothing was trained"
    assert len(office.object("ftr", "modules")["status"]["attempts"]) == 1, "bad input is not retried"


def test_data_that_changed_after_it_was_resolved_ends_the_run(shelf: Desk) -> None:
    shelf.data({"train.csv": GOOD}, name="changed")
    shelf.apply(tiny_project(shelf.namespace, "changed", **sets("configmap://changed/train.csv")))
    shelf.awaits("txp", "changed", "Ready")
    shelf.data({"train.csv": GOOD + "one row more,delivery\n"}, name="changed")
    data = {"train": [{"name": "train"}]}
    shelf.apply(builders.run("changed", shelf.namespace, project="changed", data=data, resources=SMALL))
    message = shelf.awaits_reason("ftr", "changed", "InputChanged")
    assert "data.sets[train].digest" in message
    assert "stagecoach.dev/requested-at" in message, "the project has to read it again before another run"


def test_what_a_node_says_of_an_image_that_does_not_exist_is_understood(desk: Desk) -> None:
    """Of an engine's pod and of a training's: no object of ours names an image, so the pod is made by hand."""
    image = "registry.invalid/stagecoach:none"
    spec = deploy.restricted_job(CONTAINER, {"image": image}, [])["spec"]["template"]["spec"]
    desk.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "absent"}, "spec": spec})

    def said() -> str:
        complaint = pod_of(desk.kube.get("Pod", "absent"), None).complaint
        return complaint.message if complaint and complaint.reason == "ImagePullFailed" else ""

    message = eventually(said, SOON, "it is said that the image cannot be pulled", every=POLL_SECONDS)
    assert message.startswith("The image cannot be pulled: ")
    assert image in message
    assert "See that the image exists" in message
    # What a training waits for.
    assert pod_state(desk.kube.get("Pod", "absent")).waiting in IMAGE_PULL_REASONS
