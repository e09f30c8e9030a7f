"""Where a training and an import tell that they move. Needs the trainer's libraries: runs inside its image."""

from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import progress
from stagecoach.contract.digests import CHUNK
from stagecoach.contract.jobs import Checkpoints, ModelSource
from stagecoach.contract.store import Store
from stagecoach.contract.uris import Uri
from stagecoach_trainer import bases, copies, objects, sources
from stagecoach_trainer.hub import HubRepository
from stagecoach_trainer.objects import ObjectStore, Part

from .conftest import Project, train

pytestmark = pytest.mark.filterwarnings("ignore")


class Told:
    """What was told: phases in order, and what was done in each of them."""

    def __init__(self) -> None:
        self.phases: dict[str, list[str | None]] = {"": []}

    def begins(self, doing: str) -> None:
        self.phases[doing] = []

    def made(self, doing: str | None = None) -> None:
        list(self.phases.values())[-1].append(doing)

    @property
    def all(self) -> list[str | None]:
        return [doing for phase in self.phases.values() for doing in phase]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    monkeypatch.setattr(progress, "begins", found.begins)
    monkeypatch.setattr(progress, "made", found.made)
    return found


def test_a_training_tells_of_each_phase_step_and_batch(real: Project, told: Told) -> None:
    job = real.train_job(checkpoints=Checkpoints(every_steps=20), settings={"gradient_accumulation_steps": 2})
    told.phases = {"": []}
    train(job)
    assert list(told.phases)[1:] == [
        "reading data and base model",
        "tokenizing rows",
        "loading libraries and base model",
        "looking for a checkpoint",
        "saving a checkpoint after step 20",
        "training, after step 20",
        "publishing",
    ]
    assert len(told.phases["tokenizing rows"]) == 20, "16 to train on, 4 to validate"
    assert len(told.phases["loading libraries and base model"]) >= 21, "the weights of the base"
    assert all(list(told.phases.values())[1:])
    steps = [doing for doing in told.all if doing and doing.startswith("training")]
    # 16 rows in batches of 4, two of them for a step.
    assert steps[:4] == ["training, at about step 1"] * 2 + ["training, at about step 2"] * 2
    assert "evaluating after step 2" in told.all


class Bucket(ObjectStore):
    """An object in memory, in parts of a megabyte."""

    def _get(self, relative: str, start: int, version: str = "") -> Part:  # noqa: ARG002 - there is one object
        content = b"x" * (4 * CHUNK)
        return Part(content[start : start + CHUNK], len(content), version)

    def size(self, relative: str) -> int:
        raise NotImplementedError

    def _page(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    _put = _send = _delete = _page


def test_an_object_tells_of_each_part(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "READ_PART", CHUNK)
    store = Bucket(None, Uri("s3", "bucket", "folder"), "", "")
    with store.open("file") as stream:
        assert len(stream.read()) == 4 * CHUNK
    assert len(told.all) == 3, "each but the first, which is there when it is opened"


def test_a_copy_tells_of_each_piece(tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_bytes(b"x" * (3 * CHUNK))
    copies.fetched(Store.local(str(tmp_path)), "file", "file", tmp_path / "copy")
    assert len(told.all) == 3


@pytest.mark.usefixtures("hub")
def test_a_hub_tells_of_each_piece(told: Told) -> None:
    store, _ = bases.store_of(ModelSource(name="tiny", uri="hf://desk/tiny"))
    assert isinstance(store, HubRepository)
    store._fetch("model.safetensors")
    assert told.all


def test_rows_are_told_of_one_by_one(project: Project, told: Told) -> None:
    sources.read(project.source("train"), mismatch="", remedy="")
    assert len(told.all) >= 16
