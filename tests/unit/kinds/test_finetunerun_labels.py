"""Labels of a data set are the project's, whether or not the run trains on that set."""

from typing import Any

import pytest

from stagecoach.contract.jobs import TrainJob
from tests import builders
from tests.unit.kinds.test_finetunerun import env_of, start, world

FEW = {"name": "few", "uri": "pvc://few/rows.csv", "split": "Train"}
ON_FEW = {"train": [{"name": "few"}]}


def project(digest: str = "e", **changes: Any) -> builders.Object:
    result = builders.ready_project()
    result["spec"]["data"]["sets"].append(FEW | changes)
    result["status"]["datasets"].append({"name": "few", "digest": builders.digest(digest), "examples": 5})
    return result


def told(given: builders.Object, **run: Any) -> tuple[TrainJob, set[str]]:
    """Return what the trainer is told, and the claims and ConfigMaps that its pod mounts."""
    here = world(builders.run(**run), given)
    start(here)
    [job] = here.job_objects.values()
    volumes = job["spec"]["template"]["spec"]["volumes"]
    names = [(item.get("persistentVolumeClaim") or {}).get("claimName") for item in volumes]
    names += [(item.get("configMap") or {}).get("name") for item in volumes]
    return TrainJob.model_validate_json(env_of(job)), {name for name in names if name}


def test_a_set_that_is_not_trained_on_is_read_for_its_labels() -> None:
    document, mounted = told(project(), data=ON_FEW)
    assert document.labels_from is not None
    assert (document.labels_from.name, document.labels_from.digest) == ("train", builders.digest("1"))
    assert document.inputs.label_columns == document.labels_from.columns
    assert mounted == {"desk", "few", "models", "store"}


@pytest.mark.parametrize("trained_on", [["train"], ["few", "train"]])
def test_a_set_that_is_trained_on_is_read_once(trained_on: list[str]) -> None:
    document, _ = told(project(), data={"train": [{"name": name} for name in trained_on]})
    assert (document.labels_from, document.inputs.label_columns) == (None, None)


def test_it_is_the_content_with_its_columns_that_is_trained_on() -> None:
    same, _ = told(project(digest="1"), data=ON_FEW)
    other, _ = told(project(digest="1", columns={"label": "team"}), data=ON_FEW)
    assert same.labels_from is None
    assert other.labels_from is not None, "the same file, and labels of another column"
    assert other.inputs.label_columns != other.inputs.train[0].columns


def test_where_the_labels_are_from_decides_the_digest() -> None:
    def digest(label: str, source: dict[str, Any]) -> str:
        given = project()
        given["spec"]["data"]["sets"][0]["columns"] = {"label": label}
        given["spec"]["problem"]["labels"] = source
        return told(given, data=ON_FEW)[0].inputs.digest

    by_set, values = {"fromDataset": "train"}, {"values": ["billing", "delivery"]}
    assert len({digest("label", by_set), digest("team", by_set), digest("label", values)}) == 3
    assert digest("label", values) == digest("team", values), "no column decides labels that are given"


def test_a_set_that_is_read_for_its_labels_is_shared_by_all_nodes() -> None:
    given = project()
    given["spec"]["data"]["sets"][0]["uri"] = "pvc://lake/train.csv"
    here = world(builders.run(data=ON_FEW, resources={"nodes": 2}), given)
    here.reconcile()
    assert {name for _, name in here.reconcile().look} == {"lake", "few", "models", "store"}


def test_a_document_that_does_not_say_where_the_labels_are_is_refused() -> None:
    document, _ = told(project(), data=ON_FEW)
    for changes in ({"labels_from": None}, {"inputs": document.inputs.model_copy(update={"label_columns": None})}):
        with pytest.raises(ValueError, match="labels are not taken from where the inputs say"):
            TrainJob.model_validate_json(document.model_copy(update=changes).line())
    neither = {"labels_from": None, "inputs": document.inputs.model_copy(update={"label_columns": None})}
    with pytest.raises(ValueError, match="nobody says where"):
        TrainJob.model_validate_json(document.model_copy(update=neither).line())
