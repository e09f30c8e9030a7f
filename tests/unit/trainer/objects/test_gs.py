"""What is Cloud Storage's own: service accounts, the pod's identity, uploads that go on, and its errors."""

import gzip
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("gcsfs", reason="needs the trainer's libraries: runs inside the trainer image")

from google.auth.compute_engine import _metadata
from google.auth.exceptions import RefreshError, TransportError

from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed, require_storage
from stagecoach.contract.uris import parse
from stagecoach_trainer import gs_client, gs_errors, places
from stagecoach_trainer.gs import GoogleStorage
from stagecoach_trainer.gs_errors import Refused
from stagecoach_trainer.service_accounts import ENDPOINT, KEY
from tests.unit.trainer.conftest import Project

from .conftest import running
from .gs_server import GUEST, NOBODY, WRONG, GsServer, Request, key
from .servers import Server, give_keys

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
