"""What is Cloud Storage's own: service accounts, the pod's identity, uploads that go on, and its errors."""

import gzip
import json
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gcsfs", reason="needs the trainer's libraries: runs inside the trainer image")

from google.auth.compute_engine import _metadata
from google.auth.exceptions import RefreshError, TransportError

from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed, require_storage
from stagecoach.contract.uris import parse
from stagecoach_trainer import gs_client, gs_errors, objects, places
from stagecoach_trainer.gs import GoogleStorage
from stagecoach_trainer.gs_errors import Refused
from stagecoach_trainer.service_accounts import ENDPOINT, KEY
from tests.unit.trainer.conftest import Project

from .conftest import running
from .gs_server import GUEST, NOBODY, WRONG, GsServer, Reply, Request, Trick, key, refusal
from .servers import FILES, MIB, Server, give_keys

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(GsServer(tmp_path_factory.mktemp("gs")))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, server: GsServer) -> Iterator[None]:
    monkeypatch.setattr(gs_client, "PAUSE", 0.01)
    server.gate.seen.clear()
    yield
    server.gate.trick = None


@pytest.mark.parametrize(
    ("email", "private", "reason", "words"),
    [
        (GUEST, None, "AccessDenied", "denied"),
        (NOBODY, None, "KeysRefused", "account not found"),
        (GUEST, WRONG, "KeysRefused", "Invalid JWT Signature"),
    ],
)
def test_an_account_that_opens_nothing(
    server: GsServer, bucket: str, email: str, private: str | None, reason: str, words: str
) -> None:
    made = key(server.endpoint, email, **({"private_key": private} if private else {}))
    for use in (require_storage, lambda store: store.probe("uid"), lambda store: store.read("a")):
        with pytest.raises(BadInput, match=words) as caught:
            use(server.connect(bucket, **{KEY: made}))
        problem = caught.value.problem
        assert (problem.reason, "Secret lake" in problem.remedy) == (reason, True)
        assert "PRIVATE" not in problem.line()


def test_a_token_that_is_refused_and_none(server: GsServer, store: GoogleStorage) -> None:
    assert store.exists()
    server.gate.tokens.clear()
    with pytest.raises(BadInput) as caught:
        store.exists()
    assert caught.value.problem.reason == "KeysRefused"
    asked = Request("GET", "/storage/v1/b/any/o", {}, b"")
    assert (server.gate.answer(asked) or (0,))[0] == 401, "nobody is let in without a token"


def test_a_damaged_key_is_refused_before_it_is_used(server: GsServer) -> None:
    made = key(server.endpoint, private_key="-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----\n")
    with pytest.raises(BadInput, match="Secret lake is damaged") as caught:
        server.connect("any", **{KEY: made})
    assert caught.value.problem.reason == "CredentialsUnreadable"
    assert caught.value.__suppress_context__
    assert server.gate.seen == []


def test_what_else_a_key_file_says_changes_nothing(server: GsServer, bucket: str) -> None:
    odd = key(server.endpoint, universe_domain="example.com", quota_project_id="x", trust_boundary="x")
    require_storage(server.connect(bucket, **{KEY: odd}))


def test_a_secret_never_asks_for_the_pods_identity(
    project: Project, server: GsServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_metadata, "get", lambda *_, **__: pytest.fail("the metadata server was asked"))
    give_keys(project, server, monkeypatch, storage=f"gs://{bucket}/desk")
    require_storage(places.storage())


class Metadata(BaseHTTPRequestHandler):
    """A metadata server that gives a token of the trainer's account, as long as there is one."""

    token = ""

    def do_GET(self) -> None:
        self.send_response(200 if self.token else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        told = {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"}
        who = {"email": "pod@desk.iam.gserviceaccount.com", "scopes": [], "aliases": ["default"]}
        self.wfile.write(json.dumps(told if "/token" in self.path else who).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Metadata]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{server.server_port}")
    monkeypatch.setattr(Metadata, "token", "")
    # Through a proxy, nothing would be found.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    yield Metadata
    server.shutdown()
    server.server_close()


def ambient(server: GsServer, bucket: str) -> GoogleStorage:
    """Return the store that is opened without a Secret, at the test's server instead of Google's."""
    return GoogleStorage.connect(parse(f"gs://{bucket}"), {ENDPOINT: server.endpoint}, "storage.uri")


def test_without_a_secret_it_is_the_pods_identity(
    server: GsServer, store: GoogleStorage, bucket: str, metadata: type[Metadata], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    store.write("a", b"1", "")
    shown = server.gate.seen[-1].headers["authorization"]
    monkeypatch.setenv("NO_PROXY", "")
    metadata.token = shown.removeprefix("Bearer ")
    found = ambient(server, bucket)
    # Asking for the identity knows no proxy; the store itself is asked through one.
    found._fs._fs.credentials.maybe_refresh()
    assert found._fs._fs.credentials.credentials.token == metadata.token
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert found.read("desk/a") == b"1"
    metadata.token = "of-nobody"  # noqa: S105 - nobody's
    with pytest.raises(BadInput) as caught:
        require_storage(ambient(server, bucket))
    assert caught.value.problem.reason == "KeysRefused"
    assert "pods.serviceAccountName" in caught.value.problem.remedy


def test_without_a_secret_and_an_identity_it_is_nobody_and_not_the_public(
    server: GsServer, bucket: str, metadata: type[Metadata]
) -> None:
    with pytest.raises(StorageFailed) as caught:
        require_storage(ambient(server, bucket))
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("IdentityMissing", "storage.uri", f"gs://{bucket}")
    assert "spec.credentials" in problem.remedy
    assert server.gate.seen == []
    assert metadata.token == ""


def test_what_passes_is_asked_again(server: GsServer, store: GoogleStorage) -> None:
    left = [503, 429, None]

    def busy(request: Request, _: Any) -> Reply | bool:
        if left and request.method == "POST":
            status = left.pop()
            return refusal(status) if status else None
        return False

    server.gate.trick = busy
    store.write("a", b"1", "")
    server.gate.trick = None
    assert (left, store.read("a")) == ([], b"1")


def test_what_does_not_pass_is_given_up(server: GsServer, store: GoogleStorage) -> None:
    server.gate.trick = lambda *_: refusal(429, "rateLimitExceeded", "slower, please")
    with pytest.raises(StorageFailed, match="slower, please") as caught:
        store.write("a", b"1", "")
    assert caught.value.problem.reason == "StorageFailed"
    assert len([request for request in server.gate.seen if request.path != "/token"]) == objects.TRIES


def test_an_answer_that_is_cut_off_is_asked_for_again(server: GsServer, store: GoogleStorage) -> None:
    store.write("a", bytes(1000), "")
    left = [1]

    def cut(request: Request, ask: Any) -> Reply | bool:
        if left and request.asked.get("alt") == "media":
            left.pop()
            status, headers, body = ask(request)
            return status, headers | {"X-Promised": str(len(body))}, body[:100]
        return False

    server.gate.trick = cut
    assert store.read("a") == bytes(1000)
    assert left == []


def half(then: Reply) -> Trick:
    """Let a part of an upload arrive by half, once, and answer so."""
    left = [1]

    def arrive(request: Request, ask: Any) -> Reply | bool:
        span = request.headers.get("content-range", "")
        if left and "bytes 1048576-" in span:
            left.pop()
            part = f"bytes 1048576-1310719/{span.rpartition('/')[2]}"
            ask(Request("PUT", request.path, request.headers | {"content-range": part}, request.content[: 256 << 10]))
            return then
        return False

    return arrive


def lost(then: Reply) -> Trick:
    """Let the last part of an upload arrive, and answer so."""
    left = [1]

    def lose(request: Request, ask: Any) -> Reply | bool:
        if left and "bytes 3145728-" in request.headers.get("content-range", ""):
            left.pop()
            assert (ask(request) or (0,))[0] == 200
            return then
        return False

    return lose


@pytest.mark.parametrize("then", [refusal(503), None], ids=["busy", "cut off"])
@pytest.mark.parametrize("trick", [half, lost])
def test_an_upload_goes_on_where_it_was_cut_off(
    server: GsServer, store: GoogleStorage, monkeypatch: pytest.MonkeyPatch, trick: Any, then: Reply
) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", MIB)
    content = os.urandom(3 * MIB + 7)
    server.gate.trick = trick(then)
    store.write("a", content, "")
    server.gate.trick = None
    assert store.read("a") == content
    if then:  # otherwise the connection below may have repeated itself
        spans = [request.headers.get("content-range", "") for request in server.gate.seen if request.method == "PUT"]
        assert f"bytes */{len(content)}" in spans, "it was asked how much has arrived"


@pytest.mark.parametrize("reply", [refusal(503), (308, {}, b"")], ids=["refused", "stuck"])
def test_an_upload_that_does_not_go_on_is_given_up(
    server: GsServer, store: GoogleStorage, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", MIB)
    server.gate.trick = lambda request, _: reply if "bytes 0-" in request.headers.get("content-range", "") else False
    with pytest.raises(StorageFailed) as caught:
        store.write("a", bytes(2 * MIB), "")
    assert caught.value.problem.reason == "StorageFailed"
    assert not store.exists("a")
    assert server.gate.arrived == {}, "nothing is left of it"


@pytest.mark.parametrize("there", ["the same", "another", "nothing"])
def test_an_upload_that_somebody_gave_up(
    server: GsServer, store: GoogleStorage, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", MIB)
    content = os.urandom(2 * MIB)
    left = [1]

    def give_up(request: Request, ask: Any) -> Reply | bool:
        if left and "bytes 1048576-" in request.headers.get("content-range", ""):
            left.pop()
            server.gate.arrived.clear()
            body = content if there == "the same" else bytes(2 * MIB)
            if there != "nothing":
                path = f"/upload/storage/v1/b/{store._bucket}/o?uploadType=media&name={store._key('a')}"
                ask(Request("POST", path, {}, body))
        return False

    server.gate.trick = give_up
    if there == "the same":
        store.write("a", content, "")
        assert store.read("a") == content
        return
    with pytest.raises(StorageFailed) as caught:
        store.write("a", content, "")
    assert caught.value.problem.reason == "UploadLost"


def test_an_upload_that_is_interrupted_is_given_up(
    server: GsServer, store: GoogleStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", MIB)
    ask = store._fs.ask

    def interrupted(method: str, *rest: str, **given: Any) -> Any:
        if "bytes 1048576-" in (given.get("headers") or {}).get("Content-Range", ""):
            raise KeyboardInterrupt
        return ask(method, *rest, **given)

    monkeypatch.setattr(store._fs, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write("a", bytes(3 * MIB), "")
    assert not store.exists("a")
    assert server.gate.arrived == {}


def test_a_server_that_is_killed_in_mid_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WRITE_PART", MIB)
    monkeypatch.setattr(objects, "TRIES", 1)
    mortal = GsServer(tmp_path)
    mortal.start()
    try:
        mortal.make_bucket("lake")
        store = mortal.connect("lake", "/desk")

        def die_at_the_third_part(request: Request, _: Any) -> Reply | bool:
            if "bytes 2097152-" in request.headers.get("content-range", ""):
                mortal.kill()
            return False

        mortal.gate.trick = die_at_the_third_part
        files = FILES | {"adapter_model.safetensors": os.urandom(4 * MIB)}
        with pytest.raises(StorageFailed):
            store.publish(files, "uid-1")
        mortal.gate.trick = None
        mortal.start()
        following = mortal.connect("lake", "/desk")
        folder = following.folders("artifacts/sha256")[0]
        assert following.names(f"artifacts/sha256/{folder}") == ["adapter_config.json"]
        assert following.complete(f"sha256:{folder}") is None
        manifest = following.publish(files, "uid-2")
        assert following.verified(manifest.digest) == manifest
    finally:
        mortal.kill()


def test_an_object_is_read_as_it_lies_there(store: GoogleStorage) -> None:
    packed = gzip.compress(bytes(100_000))
    with store._told("a"):
        named = {"uploadType": "media", "name": store._key("a"), "contentEncoding": "gzip"}
        store._fs.ask("POST", "/upload/storage/v1/b/{}/o", store._bucket, content=packed, **named)
    assert (store.read("a"), store.size("a")) == (packed, len(packed))


@pytest.mark.parametrize("body", [b"<html>inner page</html>", b"[]", b""])
def test_an_answer_that_is_no_object_stores_is_not_quoted(server: GsServer, store: GoogleStorage, body: bytes) -> None:
    server.gate.trick = lambda *_: (200, {}, body)
    with pytest.raises(StorageFailed) as caught:
        store.size("a")
    assert caught.value.problem.reason == "EndpointUnreachable"
    server.gate.trick = lambda *_: (404, {}, body)
    with pytest.raises(BadInput) as refused:
        store.size("a")
    assert "inner page" not in caught.value.problem.line() + refused.value.problem.line()


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind", "told"),
    [
        (401, "authError", "", BadInput, "KeysRefused"),
        (403, "forbidden", "", BadInput, "AccessDenied"),
        (403, "insufficientPermissions", "", BadInput, "AccessDenied"),
        (403, "", "", BadInput, "AccessDenied"),
        (403, "retentionPolicyNotMet", "", BadInput, "AccessDenied"),
        (403, "objectUnderActiveHold", "", BadInput, "AccessDenied"),
        (403, "accountDisabled", "billing", StorageFailed, "StorageFailed"),
        (403, "rateLimitExceeded", "", StorageFailed, "StorageFailed"),
        (403, "quotaExceeded", "", StorageFailed, "StorageFull"),
        (507, "", "", StorageFailed, "StorageFull"),
        (404, "notFound", "", BadInput, "BucketMissing"),
        (400, "invalid", "Invalid bucket name: 'a..b'", BadInput, "BucketMissing"),
        (400, "required", "Bucket is a requester pays bucket but no user project", BadInput, "AccessDenied"),
        (400, "invalid", "else", StorageFailed, "StorageFailed"),
        (412, "conditionNotMet", "", StorageFailed, "SourceChanged"),
        (429, "rateLimitExceeded", "", StorageFailed, "StorageFailed"),
        (503, "backendError", "", StorageFailed, "StorageFailed"),
        (302, "", "", StorageFailed, "StorageFailed"),
    ],
)
@pytest.mark.parametrize("secret", ["lake", ""])
def test_the_words_of_a_store(
    status: int, reason: str, message: str, kind: type[Exception], told: str, secret: str
) -> None:
    with pytest.raises(kind) as caught, gs_errors.told("gs://lake", "storage.uri", secret):
        raise Refused(status, reason, message)
    problem = caught.value.problem  # type: ignore[attr-defined]
    assert (problem.reason, problem.field, problem.value) == (told, "storage.uri", "gs://lake")
    assert problem.remedy
    assert "{" not in problem.remedy
    assert ("Secret lake" in problem.remedy) <= bool(secret)


@pytest.mark.parametrize(
    ("error", "kind", "reason", "quoted"),
    [
        (RefreshError("invalid_grant: Invalid JWT Signature."), BadInput, "KeysRefused", "Signature"),
        (RefreshError("invalid_grant: … in a reasonable timeframe."), StorageFailed, "StorageFailed", "timeframe"),
        (RefreshError("unauthorized_client: no"), BadInput, "KeysRefused", "no"),
        (RefreshError("<html>page</html>"), StorageFailed, "EndpointUnreachable", ""),
        (RefreshError("server_error: x", retryable=True), StorageFailed, "EndpointUnreachable", ""),
        (TransportError("cannot connect"), StorageFailed, "EndpointUnreachable", "cannot connect"),
    ],
)
def test_a_token_that_cannot_be_had(error: Exception, kind: type[Exception], reason: str, quoted: str) -> None:
    with pytest.raises(kind) as caught, gs_errors.told("gs://lake", "storage.uri", "lake"):
        raise error
    problem = caught.value.problem  # type: ignore[attr-defined]
    assert problem.reason == reason
    assert quoted in problem.message
    assert "page" not in problem.line()


def test_nothing_of_a_key_is_in_the_log(
    server: GsServer, bucket: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(BadInput):
        require_storage(server.connect(bucket, **server.wrong_keys))
    shown = caplog.text + "".join(capsys.readouterr())
    assert "PRIVATE KEY" not in shown
    assert "assertion" not in shown
