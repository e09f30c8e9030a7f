"""Cloud Storage that is busy, cut off, or gone in the midst of an upload."""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gcsfs", reason="needs the trainer's libraries: runs inside the trainer image")


from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import objects
from stagecoach_trainer.gs import GoogleStorage

from .gs_server import GsServer, Reply, Request, Trick, refusal
from .servers import FILES, MIB
from .test_gs import _at_once, server

__all__ = ["_at_once", "server"]

pytestmark = pytest.mark.filterwarnings("ignore")


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
