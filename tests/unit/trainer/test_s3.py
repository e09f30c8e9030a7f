"""Storage, data and base models in a real S3 server."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import access, layout
from stagecoach.contract.access import Access, Credential
from stagecoach.contract.inputs import Columns
from stagecoach.contract.jobs import Checkpoints, DataSource, ModelSource, Split
from stagecoach.contract.records import Record
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed, Store, require_storage
from stagecoach.contract.uris import parse
from stagecoach_trainer import bases, copies, lookup, object_errors, objects, places, sources
from stagecoach_trainer.objects import ObjectStore
from tests.unit.contract.documents import SUBJECT

from .conftest import Project, record_of
from .object_store import KEYS, Server, program
from .test_checkpoints import attempt

pytest.importorskip("s3fs", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

FILES = {"adapter_config.json": b"{}\n", "adapter_model.safetensors": bytes(range(256)) * 10}
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("s3"), program())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def bucket(server: Server) -> str:
    name = f"b-{uuid.uuid4().hex}"
    connect(server, name)._call("create_bucket", "")
    return name


def connect(server: Server, bucket: str, path: str = "", **keys: str) -> ObjectStore:
    return ObjectStore.connect(parse(f"s3://{bucket}{path}"), server.keys | keys)


@pytest.fixture
def store(server: Server, bucket: str) -> ObjectStore:
    return connect(server, bucket, "/desk")


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def upload(store: Store, folder: Path) -> None:
    for file in folder.iterdir():
        store.write(file.name, file.read_bytes(), "")


def give_keys(project: Project, server: Server, monkeypatch: pytest.MonkeyPatch, storage: str | None = None) -> None:
    """Mount a Secret for all of s3, as a pod has it."""
    secret = project.root / "credentials" / "lake"
    (secret / "..data").mkdir(parents=True)
    for name, value in server.keys.items():
        (secret / "..data" / name).write_text(f"{value}\n")
        (secret / name).symlink_to(f"..data/{name}")
    told = Access(storage=storage, credentials=(Credential(match="s3://", secret="lake"),))
    monkeypatch.setenv(access.ENVIRONMENT_VARIABLE, told.line())


def test_what_is_published_can_be_verified_and_read(store: ObjectStore, server: Server, bucket: str) -> None:
    manifest = store.publish(FILES, "uid")
    again = connect(server, bucket, "/desk")
    assert again.verified(manifest.digest) == manifest
    folder = layout.artifact_folder(manifest.digest)
    assert again.read(f"{folder}/adapter_config.json") == b"{}\n"
    assert again.names(folder) == sorted(FILES)
    assert again.folders("artifacts/sha256") == [manifest.digest[7:]]
    assert connect(server, bucket, "/other").verified(manifest.digest) is None


def test_publishing_again_writes_nothing(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = store.publish(FILES, "uid")
    monkeypatch.setattr(ObjectStore, "write", lambda *_: pytest.fail("it is there already"))
    assert store.publish(FILES, "other") == manifest


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_a_damaged_artifact_is_not_complete_and_is_published_anew(store: ObjectStore, damage: str) -> None:
    manifest = store.publish(FILES, "uid")
    place = f"{layout.artifact_folder(manifest.digest)}/adapter_model.safetensors"
    content = FILES["adapter_model.safetensors"]
    if damage == "missing":
        store._call("delete_object", "", Key=store._key(place))
    else:
        store.write(place, content[:-1] if damage == "short" else b"x" + content[1:], "")
    assert store.verified(manifest.digest) is None
    assert (store.complete(manifest.digest) is None) == (damage != "flipped")
    assert store.publish(FILES, "uid") == manifest
    assert store.verified(manifest.digest) == manifest


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 20 * MIB + 7])
@pytest.mark.parametrize("from_file", [False, True])
def test_an_object_is_read_in_parts_as_it_was_written(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int, from_file: bool
) -> None:
    monkeypatch.setattr(objects, "READ_PART", MIB)
    monkeypatch.setattr(objects, "WRITE_PART", 5 * MIB)
    content = os.urandom(size)
    file = tmp_path / "b"
    file.write_bytes(content)
    store.write("a/b", file if from_file else content, "")
    assert store.read("a/b") == content
    assert store.entry("a/b", "b").size == store.size("a/b") == size
    with store.open("a/b") as stream:
        pieces = list(iter(lambda: stream.read(300_007), b""))
    assert b"".join(pieces) == content


def test_what_is_there_and_what_is_not(store: ObjectStore) -> None:
    store.write("runs/one/record.json", b"{}", "")
    assert [store.exists(name) for name in ("", "runs", "runs/one/record.json", "runs/o", "absent")] == [
        *(True, True, True),
        *(False, False),
    ]
    assert store.folders("runs") == ["one"]
    assert store.folders("absent") == []
    for read in (store.read, store.size, store.names):
        with pytest.raises(FileNotFoundError):
            read("absent")


def test_many_names_take_several_pages(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        store.write(f"many/{number}/x", b"", "")
    call = store._call
    paged = {"MaxKeys": 2}
    monkeypatch.setattr(store, "_call", lambda operation, relative, **given: call(operation, relative, **given | paged))
    assert store.folders("many") == ["0", "1", "2", "3", "4"]


def test_an_object_that_is_replaced_while_it_is_read(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "READ_PART", 1024)
    store.write("rows", bytes(100_000), "")
    with store.open("rows") as stream:
        stream.read(1)
        store.write("rows", b"x" * 100_000, "")
        with pytest.raises(StorageFailed) as caught:
            stream.read()
    assert caught.value.problem.reason == "SourceChanged"


REFUSED = [
    ({"AWS_ACCESS_KEY_ID": "nobody"}, "KeysRefused", "not known"),
    ({"AWS_SECRET_ACCESS_KEY": "0000wrong"}, "KeysRefused", "secret key"),
    ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AccessDenied", "denied"),
]


@pytest.mark.parametrize(("keys", "reason", "words"), REFUSED, ids=[case[1] + case[2] for case in REFUSED])
def test_keys_that_open_nothing(server: Server, bucket: str, keys: dict[str, str], reason: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        require_storage(connect(server, bucket, **keys))
    assert caught.value.problem.reason == reason
    assert caught.value.problem.remedy
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert "0000wrong" not in str(caught.value)


def test_refused_keys_are_those_of_a_secret_that_is_named(
    project: Project, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_keys(project, server, monkeypatch, storage=f"s3://{bucket}/desk")
    (project.root / "credentials" / "lake" / "..data" / "AWS_SECRET_ACCESS_KEY").write_text("0000wrong")
    with pytest.raises(BadInput) as caught:
        require_storage(places.storage())
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("KeysRefused", "storage.uri")
    assert problem.remedy == "Correct the keys in Secret lake."
    assert "0000wrong" not in problem.line()


def test_a_bucket_that_is_not_there(server: Server) -> None:
    for use in (require_storage, lambda store: store.probe("uid"), lambda store: store.read("a")):
        with pytest.raises(BadInput) as caught:
            use(connect(server, "no-such-bucket"))
        assert caught.value.problem.reason == "BucketMissing"


def test_a_problem_of_the_storage_names_its_field(
    project: Project, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_keys(project, server, monkeypatch, storage="s3://no-such-bucket/desk")
    with pytest.raises(BadInput) as caught:
        lookup.found(places.storage(), "sha256:" + "0" * 64, SUBJECT)
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == (
        "BucketMissing",
        "storage.uri",
        "s3://no-such-bucket/desk",
    )


def test_a_server_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "TRIES", 1)
    with pytest.raises(StorageFailed) as caught:
        require_storage(connect(server, "any", AWS_ENDPOINT_URL="http://127.0.0.1:1"))
    assert caught.value.problem.reason == "EndpointUnreachable"


@pytest.mark.parametrize(
    ("code", "status", "kind", "reason"),
    [
        ("QuotaExceeded", 403, StorageFailed, "StorageFull"),
        ("XMinioStorageFull", 507, StorageFailed, "StorageFull"),
        ("507", 507, StorageFailed, "StorageFull"),
        ("ExpiredToken", 400, StorageFailed, "KeysExpired"),
        ("SlowDown", 503, StorageFailed, "StorageFailed"),
        ("InternalError", 500, StorageFailed, "StorageFailed"),
        ("403", 403, BadInput, "AccessDenied"),
        ("AccessDenied", 403, BadInput, "AccessDenied"),
        ("RequestTimeTooSkewed", 403, StorageFailed, "StorageFailed"),
        ("AllAccessDisabled", 403, StorageFailed, "StorageFailed"),
        ("301", 301, BadInput, "WrongRegion"),
        ("NoSuchKey", 404, FileNotFoundError, ""),
    ],
)
def test_the_words_of_a_store(code: str, status: int, kind: type[Exception], reason: str) -> None:
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    answer = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(kind) as caught, object_errors.told("s3://lake"):
        raise translate_boto_error(ClientError(answer, "PutObject"))
    assert not reason or caught.value.problem.reason == reason  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "AccessDenied", "PermanentRedirect", "ExpiredToken", ""])
@pytest.mark.parametrize(("secret", "words"), [("lake", "Secret lake"), ("", "Secret")])
def test_what_a_secret_is_to_blame_for_names_it(code: str, secret: str, words: str) -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError
    from s3fs.errors import translate_boto_error

    answer = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    error = ClientError(answer, "PutObject") if code else EndpointConnectionError(endpoint_url="http://lake")
    with pytest.raises((BadInput, StorageFailed)) as caught, object_errors.told("s3://lake", "storage.uri", secret):
        raise translate_boto_error(error)
    remedy: str = caught.value.problem.remedy  # type: ignore[attr-defined]
    assert words in remedy
    assert "{" not in remedy


def test_an_answer_that_is_no_object_stores_is_not_quoted() -> None:
    from botocore.parsers import ResponseParserError

    with pytest.raises(StorageFailed) as caught, object_errors.told("s3://lake", "storage.uri"):
        raise ResponseParserError("unable to parse: b'<html>inner page</html>'")
    assert caught.value.problem.reason == "EndpointUnreachable"
    assert "inner page" not in caught.value.problem.line()
    assert caught.value.__suppress_context__, "nor is it in the log"


def test_a_server_that_is_killed_in_mid_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", 5 * MIB)
    monkeypatch.setattr(objects, "PARALLEL", 1)
    monkeypatch.setattr(objects, "TRIES", 1)
    mortal = Server(tmp_path, server.program)
    mortal.start()
    try:
        store = connect(mortal, "lake", "/desk")
        store._call("create_bucket", "")
        call = store._call

        def die_at_the_third_part(operation: str, relative: str, **given: Any) -> dict[str, Any]:
            if given.get("PartNumber") == 3:
                mortal.kill()
            return call(operation, relative, **given)

        monkeypatch.setattr(store, "_call", die_at_the_third_part)
        files = FILES | {"adapter_model.safetensors": os.urandom(20 * MIB)}
        with pytest.raises(StorageFailed) as caught:
            store.publish(files, "uid-1")
        assert caught.value.problem.reason == "EndpointUnreachable"

        mortal.start()
        following = connect(mortal, "lake", "/desk")
        folder = following.folders("artifacts/sha256")[0]
        assert following.names(f"artifacts/sha256/{folder}") == ["adapter_config.json"]
        assert following.complete(f"sha256:{folder}") is None
        assert len(begun(following)) == 1
        monkeypatch.setattr(objects, "ABANDONED", timedelta(0))
        manifest = following.publish(files, "uid-2")
        assert manifest.digest == f"sha256:{folder}"
        assert following.verified(manifest.digest) == manifest
        assert begun(following) == []
    finally:
        mortal.kill()


def test_removing_takes_all_below_a_name_and_nothing_else(store: ObjectStore) -> None:
    kept = ["runs/x/step-1.10/a", "runs/x/step-1.1.json", "runs/y"]
    for name in ("runs/x/step-1.1/a", "runs/x/step-1.1/b/c", *kept):
        store.write(name, b"", "")
    store._call("create_multipart_upload", "", Key=store._key("runs/x/step-1.1/d"))
    assert len(begun(store)) == 1
    for _ in range(2):
        store.remove("runs/x/step-1.1")
    assert not store.exists("runs/x/step-1.1")
    assert all(map(store.exists, kept))
    assert begun(store) == []
    store.remove("runs/y")
    assert not store.exists("runs/y")


def begun(store: ObjectStore) -> list[Any]:
    return begun_by(store._call)


def begun_by(call: Callable[..., Any]) -> list[Any]:
    found: list[Any] = call("list_multipart_uploads", "").get("Uploads") or []
    return found


def test_the_upload_of_another_writer_is_left_alone(store: ObjectStore) -> None:
    digest = store.publish(FILES, "uid").digest
    key = store._key(f"{layout.artifact_folder(digest)}/adapter_model.safetensors")
    store._call("create_multipart_upload", "", Key=key)
    store.publish(FILES, "another")
    assert [upload["Key"] for upload in begun(store)] == [key]


@pytest.mark.parametrize(
    ("operation", "there"),
    [
        ("upload_part", "the same"),
        ("upload_part", "another"),
        ("upload_part", "nothing"),
        # This server takes any object that is there for the upload's; publishing verifies what was written.
        ("complete_multipart_upload", "the same"),
        ("complete_multipart_upload", "nothing"),
    ],
)
def test_an_upload_that_somebody_gave_up(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, operation: str, there: str
) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", 5 * MIB)
    content, call = os.urandom(6 * MIB), store._call

    def given_up(asked: str, relative: str, **given: Any) -> dict[str, Any]:
        if asked == operation:
            for upload in begun_by(call):
                call("abort_multipart_upload", "", Key=upload["Key"], UploadId=upload["UploadId"])
            if there != "nothing":
                call("put_object", "", Key=given["Key"], Body=content if there == "the same" else bytes(6 * MIB))
        return call(asked, relative, **given)

    monkeypatch.setattr(store, "_call", given_up)
    if there == "the same":
        store.write("a", content, "")
        assert store.read("a") == content
    else:
        with pytest.raises(StorageFailed) as caught:
            store.write("a", content, "")
        assert caught.value.problem.reason == "UploadLost"


def test_of_a_store_without_etags_an_object_is_read_that_is_one_part(
    store: ObjectStore, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "READ_PART", MIB)
    fetch = ObjectStore._fetch

    async def without(store: ObjectStore, **arguments: str) -> tuple[dict[str, Any], bytes]:
        answer, content = await fetch(store, **arguments)
        del answer["ETag"]
        return answer, content

    monkeypatch.setattr(ObjectStore, "_fetch", without)
    for size in (0, 7, MIB):
        store.write("a", bytes(size), "")
        assert store.read("a") == bytes(size)
    store = ObjectStore.connect(parse(f"s3://{bucket}/desk"), server.keys, "storage.uri")
    store.write("a", bytes(MIB + 1), "")
    with pytest.raises(BadInput) as caught:
        store.read("a")
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("EtagMissing", "storage.uri", f"s3://{bucket}/desk/a")
    assert problem.remedy


def test_a_store_without_etags_takes_no_object_in_parts(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", 5 * MIB)
    call = store._call

    def without(operation: str, relative: str, **given: Any) -> dict[str, Any]:
        return {key: value for key, value in call(operation, relative, **given).items() if key != "ETag"}

    monkeypatch.setattr(store, "_call", without)
    store.write("small", bytes(MIB), "")
    with pytest.raises(BadInput) as caught:
        store.write("large", bytes(6 * MIB), "")
    assert caught.value.problem.reason == "EtagMissing"
    assert not store.exists("large")
    assert begun(store) == []


def test_an_upload_that_is_interrupted_is_given_up(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", 5 * MIB)
    call = store._call

    def interrupted(operation: str, relative: str, **given: Any) -> dict[str, Any]:
        if given.get("PartNumber") == 2:
            raise KeyboardInterrupt
        return call(operation, relative, **given)

    monkeypatch.setattr(store, "_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write("a", bytes(12 * MIB), "")
    assert not store.exists("a")
    assert begun(store) == []


def test_a_data_set_is_the_same_wherever_it_lies(
    project: Project, server: Server, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_keys(project, server, monkeypatch)
    upload(store, project.root / "pvc" / "data")

    def read(uri: str) -> sources.Dataset:
        source = DataSource(name="train", uri=uri, split=Split.TRAIN, columns=Columns())
        return sources.read(source, mismatch="", remedy="")

    lying, mounted = read(f"s3://{bucket}/desk/train.csv"), read("pvc://data/train.csv")
    assert (lying.digest, lying.rows) == (mounted.digest, mounted.rows)
    with pytest.raises(BadInput, match=r"there are train\.csv, valid\.csv") as caught:
        read(f"s3://{bucket}/desk/absent.csv")
    assert caught.value.problem.reason == "SourceMissing"
    with pytest.raises(BadInput) as caught:
        read("s3://no-such-bucket/desk/train.csv")
    assert (caught.value.problem.reason, caught.value.problem.field) == ("BucketMissing", "data.sets[train].uri")


def test_a_base_is_copied_to_scratch_and_is_the_same(
    project: Project, server: Server, store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "READ_PART", MIB)
    give_keys(project, server, monkeypatch)
    folder = project.root / "pvc" / "models" / "tiny"
    (folder / "model.safetensors").write_bytes(os.urandom(5 * MIB + 3))
    (folder / "pytorch_model.bin").write_bytes(b"not wanted")
    upload(store, folder)
    source = ModelSource(name="tiny", uri=f"s3://{bucket}/desk")
    copied = bases.read(source, mismatch="", remedy="")
    mounted = bases.read(ModelSource(name="tiny", uri="pvc://models/tiny"), mismatch="", remedy="")
    assert (copied.model, copied.tokenizer) == (mounted.model, mounted.tokenizer)
    assert Path(copied.folder).is_relative_to(project.root / "scratch")
    assert names_in(copied.folder) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (Path(copied.folder) / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    with pytest.raises(BadInput, match=r"no config\.json") as caught:
        bases.read(ModelSource(name="tiny", uri=f"s3://{bucket}/absent"), mismatch="", remedy="")
    assert caught.value.problem.reason == "BaseMissing"


def test_a_training_goes_on_from_a_checkpoint_in_a_bucket(
    project: Project, tiny_base: Path, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    job = project.train_job(settings={"epochs": 2}, checkpoints=Checkpoints(every_steps=2, keep=1))
    attempt(project, job)
    expected = record_of(project, job)
    give_keys(project, server, monkeypatch, storage=f"s3://{bucket}/storage")
    storage = connect(server, bucket, "/storage")
    attempt(project, job, killed=5)
    folder = layout.checkpoints_folder(job.inputs.digest, job.subject.uid)
    assert (storage.names(folder), storage.folders(folder)) == (["step-4.1.json"], ["step-4.1"])
    attempt(project, job.model_copy(update={"attempt": 2}), asked=6)
    assert storage.names(folder) == ["step-7.2.json"]
    monkeypatch.setattr(objects, "READ_PART", 1024)
    attempt(project, job.model_copy(update={"attempt": 3}))
    known = lookup.read_record(storage, job.inputs.digest)
    assert known is not None
    assert isinstance(known[0], Record)
    assert [stretch.first_step for stretch in known[0].training.stretches] == [0, 4, 7]
    assert known[0].artifact == expected.artifact
    assert storage.folders(layout.run_folder(job.inputs.digest)) == [], "checkpoints go when the record is there"


def test_keys_that_are_refused_cost_a_checkpoint_and_not_the_training(
    project: Project, tiny_base: Path, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    job = project.train_job(settings={"epochs": 1}, checkpoints=Checkpoints(every_steps=1))
    give_keys(project, server, monkeypatch, storage=f"s3://{bucket}/storage")

    def refuse(store: ObjectStore, relative: str, *_: Any) -> None:
        with object_errors.told(store.path(relative)):
            raise denied()

    monkeypatch.setattr(ObjectStore, "remove", refuse)
    attempt(project, job)
    assert lookup.read_record(places.storage(), job.inputs.digest) is not None


def denied() -> OSError:
    """Return what s3fs raises when the keys may not."""
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    error = PermissionError("Access Denied")
    error.__cause__ = ClientError(answer, "DeleteObject")
    return error


def test_a_run_trains_from_and_to_a_bucket_and_is_adopted(
    project: Project, tiny_base: Path, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stagecoach_trainer.resolve import resolve
    from stagecoach_trainer.train import train

    shutil.copytree(tiny_base, project.root / "pvc" / "models" / "tiny", dirs_exist_ok=True)
    mounted = project.train_job(settings={"epochs": 1})
    give_keys(project, server, monkeypatch, storage=f"s3://{bucket}/storage")
    upload(connect(server, bucket, "/data"), project.root / "pvc" / "data")
    upload(connect(server, bucket, "/tiny"), project.root / "pvc" / "models" / "tiny")
    shutil.rmtree(project.root / "pvc")
    shutil.rmtree(project.root / "storage")

    def there(group: tuple[DataSource, ...]) -> tuple[DataSource, ...]:
        return tuple(item.model_copy(update={"uri": f"s3://{bucket}/data/{item.name}.csv"}) for item in group)

    base = mounted.base.model_copy(update={"uri": f"s3://{bucket}/tiny"})
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
