"""Data sets of a hub."""

from typing import Any

import pytest

from stagecoach.contract.inputs import Columns
from stagecoach.contract.jobs import DataSource, Split
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed
from stagecoach.contract.uris import BadUri
from stagecoach_trainer import hub_data, sources

from .conftest import Project, record_of, train
from .hub_server import NEW, OLD, Hub

pytest.importorskip("huggingface_hub", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

OTHER = b"text,label\nmy card is gone,card_lost\n"


@pytest.fixture(autouse=True)
def cards(hub: Hub, project: Project) -> Hub:
    """The hub with data set desk/cards: the project's own rows, and others in an older commit."""
    files = {f"data/{name}": (project.root / "pvc" / "data" / name).read_bytes() for name in ("train.csv", "valid.csv")}
    hub.add("desk/cards", files | {"README.md": b"# Cards"}, old=files | {"data/train.csv": OTHER})
    return hub


def source(name: str = "train", split: Split = Split.TRAIN, **changes: Any) -> DataSource:
    uri = f"hf://datasets/desk/cards/data/{name}.csv"
    return DataSource(name=name, uri=uri, split=split, columns=Columns()).model_copy(update=changes)


def read(given: DataSource) -> sources.Dataset:
    return sources.read(given, mismatch="InputChanged", remedy="Mend it.")


def test_a_file_of_a_hub_is_that_of_a_folder_and_its_commit_is_known(hub: Hub, project: Project) -> None:
    found, mounted = read(source()), read(project.source("train"))
    assert (found.digest, found.rows) == (mounted.digest, mounted.rows)
    assert (found.revision, mounted.revision) == (NEW, None)
    assert {asked[2] for asked in hub.asked} == {"Bearer t0ken"}
    assert not [path for _, path, _ in hub.asked if "valid" in path or "README" in path], (
        "only what is needed is copied"
    )


def test_a_revision_and_its_copy_are_not_mixed_with_another() -> None:
    assert [row[:2] for row in read(source(revision="v1")).rows] == [("my card is gone", "card_lost")]
    assert len(read(source()).rows) == 16
    assert read(source(revision="v1")).revision == OLD
    assert read(source(revision="refs/pr/1")).revision == OLD, "a branch may have a slash in its name"


def test_a_branch_that_has_moved_is_read_anew_and_the_commit_as_it_was(hub: Hub) -> None:
    before = read(source())
    hub.repositories["datasets/desk/cards"].refs["main"] = OLD
    assert read(source(revision=NEW, digest=before.digest)).rows == before.rows
    with pytest.raises(BadInput) as caught:
        read(source(digest=before.digest))
    assert caught.value.problem.reason == "InputChanged"


@pytest.mark.parametrize("length", [300, 250])
def test_a_name_that_no_file_system_takes(hub: Hub, length: int) -> None:
    # The library keeps files of its own beside, whose names are longer.
    name = "a" * (length - 4) + ".csv"
    hub.add("desk/cards", {name: OTHER})
    with pytest.raises(BadInput, match="longer than a file system takes") as caught:
        read(source(uri=f"hf://datasets/desk/cards/{name}"))
    assert (caught.value.problem.reason, caught.value.problem.field) == ("SourceRefused", "data.sets[train].uri")


@pytest.mark.parametrize(
    ("changes", "reason", "field", "words"),
    [
        ({"uri": "hf://datasets/desk/absent/a.csv"}, "SourceMissing", "uri", "no such repository"),
        ({"uri": "hf://datasets/desk/secret/a.csv"}, "SourceMissing", "uri", "token in Secret hub was not accepted"),
        ({"uri": "hf://datasets/desk/tiny/a.csv"}, "SourceMissing", "uri", "no such repository"),
        ({"uri": "hf://datasets/desk/gated/a.csv"}, "AccessDenied", "uri", "accept its terms"),
        ({"uri": "hf://datasets/desk/cards/a.csv"}, "SourceMissing", "uri", "it has data/train.csv, data/valid.csv"),
        ({"revision": "v2"}, "RevisionMissing", "hub.revision", "'v2'"),
    ],
)
def test_a_file_that_cannot_be_had(changes: dict[str, Any], reason: str, field: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read(source(**changes))
    problem = caught.value.problem
    assert (problem.reason, problem.field) == (reason, f"data.sets[train].{field}")
    assert problem.remedy
    assert "t0ken" not in problem.line()


def test_a_wrong_token_is_told(hub: Hub) -> None:
    hub.token = "another"  # noqa: S105
    with pytest.raises(BadInput) as caught:
        read(source())
    problem = caught.value.problem
    assert problem.reason == "SourceMissing"
    assert "data.sets[train].uri (hf://datasets/desk/cards): the token in Secret hub was not" in problem.sentence
    assert "spec.credentials" not in problem.remedy, "it named one"


def test_a_hub_that_fails_may_do_better(hub: Hub) -> None:
    hub.down = 500
    with pytest.raises(StorageFailed) as caught:
        read(source())
    assert (caught.value.problem.reason, caught.value.problem.field) == ("ServerFailed", "data.sets[train].uri")


@pytest.mark.parametrize("told", [True, False])
def test_what_is_more_than_a_pod_can_hold(hub: Hub, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    hub.tells_sizes = told
    monkeypatch.setattr(hub_data, "MAX_BYTES", len(OTHER) - 1)
    with pytest.raises(BadInput, match="more than") as caught:
        read(source(revision="v1"))
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("SourceTooLarge", "data.sets[train].uri")
    assert any("/resolve/" in path for _, path, _ in hub.asked) is not told, "what is told is not downloaded"
    monkeypatch.setattr(hub_data, "MAX_BYTES", len(OTHER))
    assert len(read(source(revision="v1")).rows) == 1


def test_an_organization_is_no_data_set() -> None:
    with pytest.raises(BadUri, match="names no data set"):
        read(source(uri="hf://datasets/desk.csv"))


def test_a_project_is_resolved_and_trained(real: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    listed = (source(), source("valid", Split.VALIDATION))
    found = resolve(real.resolve_job(datasets=listed))
    assert [(item.name, item.examples, item.revision) for item in found.datasets] == [
        ("train", 16, NEW),
        ("valid", 4, NEW),
    ]
    taken = [
        item.model_copy(update={"digest": known.digest, "revision": known.revision})
        for item, known in zip(listed, found.datasets, strict=True)
    ]
    job = real.train_job(train=(taken[0],), validation=(taken[1],))
    train(job)
    assert [(item.uri, item.revision) for item in record_of(real, job).data] == [(item.uri, NEW) for item in taken]
