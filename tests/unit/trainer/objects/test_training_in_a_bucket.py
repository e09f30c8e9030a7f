"""Data, base models and storage in an object store of each kind, as the trainer uses them."""

import os
import shutil
from pathlib import Path

import pytest

from stagecoach.contract import layout
from stagecoach.contract.inputs import Columns
from stagecoach.contract.jobs import Checkpoints, DataSource, ModelSource, Split
from stagecoach.contract.records import Record
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import bases, copies, lookup, objects, places, sources
from stagecoach_trainer.objects import ObjectStore
from tests.unit.contract.documents import SUBJECT
from tests.unit.trainer.conftest import Project, record_of
from tests.unit.trainer.test_checkpoints import attempt
from tests.unit.trainer.weights import safetensors_of

from .servers import MIB, Server, give_keys, upload

pytest.importorskip("s3fs", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_data_set_is_the_same_wherever_it_lies(
    project: Project, server: Server, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_keys(project, server, monkeypatch)
    upload(store, project.root / "pvc" / "data")

    def read(uri: str) -> sources.Dataset:
        source = DataSource(name="train", uri=uri, split=Split.TRAIN, columns=Columns())
        return sources.read(source, mismatch="", remedy="")

    lying, mounted = read(f"{server.scheme}://{bucket}/desk/train.csv"), read("pvc://data/train.csv")
    assert (lying.digest, lying.rows) == (mounted.digest, mounted.rows)
    with pytest.raises(BadInput, match=r"there are train\.csv, valid\.csv") as caught:
        read(f"{server.scheme}://{bucket}/desk/absent.csv")
    assert caught.value.problem.reason == "SourceMissing"
    with pytest.raises(BadInput) as caught:
        read(f"{server.scheme}://no-such-bucket/desk/train.csv")
    assert (caught.value.problem.reason, caught.value.problem.field) == ("BucketMissing", "data.sets[train].uri")


def test_a_base_is_copied_to_scratch_and_is_the_same(
    project: Project, server: Server, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "READ_PART", MIB)
    give_keys(project, server, monkeypatch)
    folder = project.root / "pvc" / "models" / "tiny"
    (folder / "model.safetensors").write_bytes(safetensors_of(os.urandom(5 * MIB + 3)))
    (folder / "pytorch_model.bin").write_bytes(b"not wanted")
    upload(store, folder)
    source = ModelSource(name="tiny", uri=f"{server.scheme}://{bucket}/desk")
    copied = bases.read(source, mismatch="", remedy="")
    mounted = bases.read(ModelSource(name="tiny", uri="pvc://models/tiny"), mismatch="", remedy="")
    assert (copied.model, copied.tokenizer) == (mounted.model, mounted.tokenizer)
    assert Path(copied.folder).is_relative_to(project.root / "scratch")
    assert names_in(copied.folder) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (Path(copied.folder) / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    with pytest.raises(BadInput, match=r"no config\.json") as caught:
        bases.read(ModelSource(name="tiny", uri=f"{server.scheme}://{bucket}/absent"), mismatch="", remedy="")
    assert caught.value.problem.reason == "BaseMissing"


def test_a_training_goes_on_from_a_checkpoint_in_a_bucket(
    project: Project, tiny_base: Path, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    job = project.train_job(settings={"epochs": 2}, checkpoints=Checkpoints(every_steps=2, keep=1))
    attempt(project, job)
    expected = record_of(project, job)
    give_keys(project, server, monkeypatch, storage=f"{server.scheme}://{bucket}/storage")
    storage = server.connect(bucket, "/storage")
    attempt(project, job, killed=5)
    folder = layout.checkpoints_folder(job.inputs.digest, job.subject.uid)
    assert (storage.names(folder), storage.folders(folder)) == (["step-4.1.json"], ["step-4.1"])
    attempt(project, job.model_copy(update={"attempt": 2}), asked=6)
    assert storage.names(folder) == ["step-7.2.json"]
    others = layout.checkpoints_folder(job.inputs.digest, "another")
    storage.write(f"{others}/step-4.1.json", b"{}", "test")
    monkeypatch.setattr(objects, "READ_PART", 1024)
    attempt(project, job.model_copy(update={"attempt": 3}))
    known = lookup.read_record(storage, job.inputs.digest)
    assert known is not None
    assert isinstance(known[0], Record)
    assert [stretch.first_step for stretch in known[0].training.stretches] == [0, 4, 7]
    assert known[0].artifact == expected.artifact
    all_runs = layout.checkpoints_folder(job.inputs.digest)
    assert storage.folders(all_runs) == ["another"], "its own go when the record is there"


def test_keys_that_are_refused_cost_a_checkpoint_and_not_the_training(
    project: Project, tiny_base: Path, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    job = project.train_job(settings={"epochs": 1}, checkpoints=Checkpoints(every_steps=1))
    give_keys(project, server, monkeypatch, storage=f"{server.scheme}://{bucket}/storage")

    def refuse(store: ObjectStore, relative: str) -> None:
        raise BadInput(Problem.of("AccessDenied", "access is denied", value=store.path(relative)))

    monkeypatch.setattr(ObjectStore, "remove", refuse)
    attempt(project, job)
    assert lookup.read_record(places.storage(), job.inputs.digest) is not None


def test_a_run_trains_from_and_to_a_bucket_and_is_adopted(
    project: Project, tiny_base: Path, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecoach_trainer.resolve import resolve
    from stagecoach_trainer.train import train

    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    mounted = project.train_job(settings={"epochs": 1})
    give_keys(project, server, monkeypatch, storage=f"{server.scheme}://{bucket}/storage")
    upload(server.connect(bucket, "/data"), project.root / "pvc" / "data")
    upload(server.connect(bucket, "/tiny"), project.root / "pvc" / "models" / "tiny")
    shutil.rmtree(project.root / "pvc")
    shutil.rmtree(project.root / "storage")

    def there(group: tuple[DataSource, ...]) -> tuple[DataSource, ...]:
        return tuple(
            item.model_copy(update={"uri": f"{server.scheme}://{bucket}/data/{item.name}.csv"}) for item in group
        )

    base = mounted.base.model_copy(update={"uri": f"{server.scheme}://{bucket}/tiny"})
    asked = project.resolve_job()
    asked = asked.model_copy(update={"datasets": there(asked.datasets), "candidates": (base,)})
    resolution = resolve(asked)
    assert resolution.datasets[0].digest == mounted.train[0].digest
    assert not resolution.has_records

    job = mounted.model_copy(
        update={"base": base, "train": there(mounted.train), "validation": there(mounted.validation)}
    )
    report = train(job)
    storage = places.storage()
    assert isinstance(storage, ObjectStore)
    manifest = storage.verified(report.digest)
    assert manifest is not None
    assert storage.folders("staging") == []
    assert resolve(asked).has_records
    adopted = lookup.found(storage, job.inputs.digest, SUBJECT.model_copy(update={"uid": "another"}))
    assert adopted is not None
    assert (adopted.digest, adopted.adopted) == (report.digest, True)
    assert names_in(copies.artifact(storage, manifest)) == sorted(item.path for item in manifest.files)
