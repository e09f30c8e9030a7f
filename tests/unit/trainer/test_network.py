"""Certificate authorities of one's own, and proxies. Needs the trainer's libraries: runs inside its image."""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import authorities, credentials, places

from .conftest import Project

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("s3fs", reason="needs the trainer's libraries: runs inside the trainer image")

# What each client says of a server that knows nothing.
PROGRAM = """\
import asyncio, json, sys
from pathlib import Path
from stagecoach_trainer import authorities
authorities.trust()
import aiohttp
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import rsa
from stagecoach.contract.uris import Uri
from stagecoach_trainer.gs import GoogleStorage
from stagecoach_trainer.hub import HubRepository
from stagecoach_trainer.mlflow import Server
from stagecoach_trainer.s3 import S3

s3, hub, mlflow, web, gs, tokens = sys.argv[1:]
made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
private = made.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
account = {"client_email": "a@b", "private_key": private, "token_uri": tokens}
cloud = {"GOOGLE_APPLICATION_CREDENTIALS_JSON": json.dumps(account), "GCS_ENDPOINT_URL": gs}

def storage(token):
    store = GoogleStorage.connect(Uri("gs", "lake", ""), cloud, secret="lake")
    store._fs._fs.credentials.credentials.token = token
    return store.exists()

async def read():
    async with aiohttp.ClientSession() as session, session.get(web) as answer:
        return answer.status

def said(work):
    try:
        return str(work())
    except BaseException as error:
        return f"{type(error).__name__}: {error}"

print(json.dumps({
    "s3": said(lambda: S3.connect(Uri("s3", "lake", ""), {"AWS_ENDPOINT_URL": s3}).exists()),
    "hub": said(lambda: HubRepository("desk/tiny", "model", None, {"HF_ENDPOINT": hub}, Path("nowhere"))),
    "mlflow": said(lambda: Server(mlflow, {}).experiment("team/desk")),
    "gs": said(lambda: storage("any")),
    "tokens": said(lambda: storage(None)),
    "web": said(lambda: asyncio.run(read())),
}))
"""


def clients(root: Path, *places_: str, **environment: str) -> dict[str, str]:
    """Return what each client says, in a process whose environment was set before anything was imported."""
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        places.ROOT_VARIABLE: str(root),
        credentials.LOOPBACK_VARIABLE: "1",
    }
    command = [sys.executable, "-c", PROGRAM, *places_]
    ended = subprocess.run(command, env=given | environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, str] = json.loads(ended.stdout)
    return said


@contextmanager
def server(context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """Start a server that knows nothing, and yield its port and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_POST = do_CONNECT = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        found.socket = context.wrap_socket(found.socket, server_side=True)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield found.server_port, asked
    finally:
        found.shutdown()
        found.server_close()


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate that no known authority has signed, and a server's context with it."""
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", "req", *made, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


def mount(project: Project, content: bytes) -> None:
    folder = project.root / "authorities"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(content)


def test_what_an_authority_of_ones_own_has_signed_is_trusted_by_every_client(
    project: Project, own: tuple[Path, ssl.SSLContext]
) -> None:
    certificate, context = own
    with server(context) as (port, asked):
        places_ = [f"https://localhost:{port}"] * 6
        refused = clients(project.root, *places_)
        assert {name: words for name, words in refused.items() if "certificate" not in words.lower()} == {}
        assert asked == []
        mount(project, certificate.read_bytes())
        trusted = clients(project.root, *places_)
    assert {name: words for name, words in trusted.items() if "certificate" in words.lower()} == {}
    assert len(asked) >= 6


def test_the_usual_authorities_are_trusted_beside_it(
    project: Project, own: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in authorities.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    authorities.trust()
    assert "SSL_CERT_FILE" not in os.environ, "nothing is mounted"
    usual = len(ssl.create_default_context(cafile=str(authorities.SYSTEM)).get_ca_certs())
    mount(project, "# Stelle für Zertifikate\n".encode() + own[0].read_bytes())
    authorities.trust()
    [both] = {os.environ[name] for name in authorities.VARIABLES}
    assert len(ssl.create_default_context(cafile=both).get_ca_certs()) == usual + 1 > 50
    for name in authorities.VARIABLES:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_bundle_that_is_none_is_refused(project: Project, content: bytes) -> None:
    mount(project, content)
    with pytest.raises(BadInput) as caught:
        authorities.trust()
    assert caught.value.problem.reason == "AuthoritiesInvalid"


PLACES = tuple(f"http://{name}.example" for name in ("objects", "hub", "mlflow", "data", "gs", "tokens"))


def test_a_proxy_is_used_and_left_out_where_it_should_be(project: Project) -> None:
    with server() as (port, asked):
        proxy = {"HTTP_PROXY": f"http://127.0.0.1:{port}", "NO_PROXY": ".svc"}
        clients(project.root, *PLACES, **proxy)
        hosts = {urlsplit(each).hostname for each in asked}
        assert hosts == {f"{name}.example" for name in ("objects", "hub", "mlflow", "gs", "tokens")}
        asked.clear()
        clients(project.root, *PLACES, **proxy | {"NO_PROXY": ".example"})
        assert asked == []


def test_files_of_web_servers_are_never_asked_for_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    from stagecoach_trainer import web

    with server() as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(StorageFailed, match="directly: what lies behind a proxy cannot be checked"):
            web.read("https://data.invalid/rows.csv", {})
    assert asked == []
