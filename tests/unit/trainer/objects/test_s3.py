"""What is S3's own: its keys and errors, and uploads in parts that have to be given up."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed, require_storage
from stagecoach.contract.uris import parse
from stagecoach_trainer import objects, s3, s3_errors
from stagecoach_trainer.s3 import S3

from .conftest import running
from .s3_server import KEYS, S3Server
from .servers import FILES, MIB, Server

pytest.importorskip("s3fs", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(S3Server(tmp_path_factory.mktemp("s3")))


REFUSED = [
    ({"AWS_ACCESS_KEY_ID": "nobody"}, "KeysRefused", "not known"),
    ({"AWS_SECRET_ACCESS_KEY": "0000wrong"}, "KeysRefused", "secret key"),
    ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AccessDenied", "denied"),
]


@pytest.mark.parametrize(("keys", "reason", "words"), REFUSED, ids=[case[1] + case[2] for case in REFUSED])
def test_keys_that_open_nothing(server: S3Server, bucket: str, keys: dict[str, str], reason: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        require_storage(server.connect(bucket, **keys))
    assert caught.value.problem.reason == reason
    assert caught.value.problem.remedy
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert "0000wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "status", "kind", "reason"),
    [
        ("QuotaExceeded", 403, StorageFailed, "StorageFull"),  # versitygw's, where its file system has quotas
        ("InsufficientStorage", 507, StorageFailed, "StorageFull"),  # versitygw's too: see the disk that is full
        ("XMinioStorageFull", 507, StorageFailed, "StorageFull"),
        ("507", 507, StorageFailed, "StorageFull"),
        ("ExpiredToken", 400, StorageFailed, "KeysExpired"),
        ("SlowDown", 503, StorageFailed, "StorageFailed"),
        ("InternalError", 500, StorageFailed, "StorageFailed"),
        ("NotImplemented", 501, objects.UnknownCondition, "StorageFailed"),
        ("ConditionalRequestConflict", 409, StorageFailed, "SourceChanged"),
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
    with pytest.raises(kind) as caught, s3_errors.told("s3://lake"):
        raise translate_boto_error(ClientError(answer, "PutObject"))
    assert not reason or caught.value.problem.reason == reason  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "AccessDenied", "PermanentRedirect", "ExpiredToken", ""])
@pytest.mark.parametrize(("secret", "words"), [("lake", "Secret lake"), ("", "Secret")])
def test_what_a_secret_is_to_blame_for_names_it(code: str, secret: str, words: str) -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError
    from s3fs.errors import translate_boto_error

    answer = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    error = ClientError(answer, "PutObject") if code else EndpointConnectionError(endpoint_url="http://lake")
    with pytest.raises((BadInput, StorageFailed)) as caught, s3_errors.told("s3://lake", "storage.uri", secret):
        raise translate_boto_error(error)
    remedy: str = caught.value.problem.remedy  # type: ignore[attr-defined]
    assert words in remedy
    assert "{" not in remedy


def test_an_answer_that_is_no_object_stores_is_not_quoted() -> None:
    from botocore.parsers import ResponseParserError

    with pytest.raises(StorageFailed) as caught, s3_errors.told("s3://lake", "storage.uri"):
        raise ResponseParserError("unable to parse: b'<html>inner page</html>'")
    assert caught.value.problem.reason == "EndpointUnreachable"
    assert "inner page" not in caught.value.problem.line()
    assert caught.value.__suppress_context__, "nor is it in the log"


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    small = S3Server(tmp_path, small=True)
    small.start()
    try:
        small.make_bucket("lake")
        store = small.connect("lake", "/desk")
        store.write("first", bytes(10 * MIB), "")
        for size in (16 * MIB, 40 * MIB):  # by one request, and in parts
            with pytest.raises(StorageFailed) as caught:
                store.write("more", bytes(size), "")
            problem = caught.value.problem
            assert (problem.reason, problem.value) == ("StorageFull", "s3://lake/desk/more")
            assert problem.remedy
        assert not store.exists("more")
        assert begun(store) == [], "what was begun takes no room"
        store.remove("first")
        store.write("more", bytes(16 * MIB), "")
    finally:
        small.kill()


def test_a_server_that_is_killed_in_mid_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", 5 * MIB)
    monkeypatch.setattr(objects, "PARALLEL", 1)
    monkeypatch.setattr(objects, "TRIES", 1)
    mortal = S3Server(tmp_path)
    mortal.start()
    try:
        store = mortal.connect("lake", "/desk")
        mortal.make_bucket("lake")
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
        following = mortal.connect("lake", "/desk")
        folder = following.folders("artifacts/sha256")[0]
        assert following.names(f"artifacts/sha256/{folder}") == ["adapter_config.json"]
        assert following.complete(f"sha256:{folder}") is None
        assert len(begun(following)) == 1
        monkeypatch.setattr(s3, "ABANDONED", timedelta(0))
        manifest = following.publish(files, "uid-2")
        assert manifest.digest == f"sha256:{folder}"
        assert following.verified(manifest.digest) == manifest
        assert begun(following) == []
    finally:
        mortal.kill()


def begun(store: S3) -> list[Any]:
    return begun_by(store._call)


def begun_by(call: Callable[..., Any]) -> list[Any]:
    found: list[Any] = call("list_multipart_uploads", "").get("Uploads") or []
    return found


def test_removing_a_folder_gives_up_what_was_begun_there(store: S3) -> None:
    for name in ("runs/x/step-1.1/d", "runs/x/step-1.10/d"):
        store._call("create_multipart_upload", "", Key=store._key(name))
    store.remove("runs/x/step-1.1")
    assert [upload["Key"] for upload in begun(store)] == [store._key("runs/x/step-1.10/d")]


def test_what_was_begun_is_given_up_on_every_page(store: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "b", "b", "c", "c", "d"):
        store._call("create_multipart_upload", "", Key=store._key(f"runs/x/{name}"))
    store._call("create_multipart_upload", "", Key=store._key("runs/y"))
    call, pages = store._call, []

    def of_three(operation: str, relative: str, **given: Any) -> dict[str, Any]:
        if operation != "list_multipart_uploads":
            return call(operation, relative, **given)
        pages.append(call(operation, relative, MaxUploads=3, **given))
        return pages[-1]

    monkeypatch.setattr(store, "_call", of_three)
    store.remove("runs/x")
    assert [upload["Key"] for upload in begun_by(call)] == [store._key("runs/y")]
    assert len(pages) >= 3


def test_a_listing_that_does_not_go_on_ends(store: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = {"Key": "a", "UploadId": "1"}
    monkeypatch.setattr(store, "_call", lambda *_, **__: {"IsTruncated": True, "Uploads": [upload]})
    assert list(store._begun("")) == [upload, upload]


def test_the_upload_of_another_writer_is_left_alone(store: S3) -> None:
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
    store: S3, monkeypatch: pytest.MonkeyPatch, operation: str, there: str
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
    store: S3, server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "READ_PART", MIB)
    fetch = S3._fetch

    async def without(store: S3, **arguments: str) -> tuple[dict[str, Any], bytes]:
        answer, content = await fetch(store, **arguments)
        del answer["ETag"]
        return answer, content

    monkeypatch.setattr(S3, "_fetch", without)
    for size in (0, 7, MIB):
        store.write("a", bytes(size), "")
        assert store.read("a") == bytes(size)
    store = S3.connect(parse(f"s3://{bucket}/desk"), server.keys, "storage.uri")
    store.write("a", bytes(MIB + 1), "")
    with pytest.raises(BadInput) as caught:
        store.read("a")
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("EtagMissing", "storage.uri", f"s3://{bucket}/desk/a")
    assert problem.remedy


def test_a_store_without_etags_takes_no_object_in_parts(store: S3, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_upload_that_is_interrupted_is_given_up(store: S3, monkeypatch: pytest.MonkeyPatch) -> None:
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
