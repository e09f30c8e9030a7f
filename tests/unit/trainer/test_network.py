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

from stagecoach.contract.jobs import ENVIRONMENT_VARIABLE, ResolveJob
from stagecoach.contract.reports import BadInput, Report
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import authorities, credentials, places, sources

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


# Resolves what the environment says, as in a pod whose names all have one public address, that of this machine.
RESOLVING = """\
import socket
connect = socket.socket.connect
socket.getaddrinfo = lambda _, port, *__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]
socket.socket.connect = lambda self, place: connect(self, ("127.0.0.1", place[1]))
from stagecoach_trainer import work
print(work.perform().line())
"""


def program(text: str, root: Path, *arguments: str, **environment: str) -> str:
    """Run a program in a process whose environment was set before anything was imported; return what it says."""
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        places.ROOT_VARIABLE: str(root),
        credentials.LOOPBACK_VARIABLE: "1",
    }
    command = [sys.executable, "-c", text, *arguments]
    ended = subprocess.run(command, env=given | environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def clients(root: Path, *places_: str, **environment: str) -> dict[str, str]:
    """Return what each client says."""
    said: dict[str, str] = json.loads(program(PROGRAM, root, *places_, **environment))
    return said


def resolved(project: Project, job: ResolveJob) -> Report:
    """Return how the trainer's program ends with a document."""
    report = Report.parse(program(RESOLVING, project.root, **{ENVIRONMENT_VARIABLE: job.line()}))
    assert report is not None
    return report


@contextmanager
def server(context: ssl.SSLContext | None = None, content: bytes = b"") -> Iterator[tuple[int, list[str]]]:
    """Start a server that knows nothing, or one content, and yield its port and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

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
    """The certificate of an authority that nobody knows, and the context of a server whose own it has signed."""
    authority, certificate = tmp_path / "authority.pem", tmp_path / "own.pem"
    names = ("-addext", "subjectAltName=DNS:localhost,DNS:data.example", "-addext", "basicConstraints=CA:FALSE")
    signed = ("-CA", str(authority), "-CAkey", f"{authority}.key", *names)
    signs = ("-addext", "keyUsage=critical,keyCertSign")
    for made, called, how in ((authority, "desk", signs), (certificate, "localhost", signed)):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={called}"]
        files = ("-keyout", f"{made}.key", "-out", str(made))
        subprocess.run([*command, *files, *how], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    return authority, context


def mount(project: Project, content: bytes) -> None:
    folder = project.root / "authorities"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(content)


@pytest.mark.long
def test_what_an_authority_of_ones_own_has_signed_is_trusted_by_every_client(
    project: Project, own: tuple[Path, ssl.SSLContext]
) -> None:
    authority, context = own
    with server(context) as (port, asked):
        places_ = [f"https://localhost:{port}"] * 6
        refused = clients(project.root, *places_)
        assert {name: words for name, words in refused.items() if "certificate" not in words.lower()} == {}
        assert asked == []
        mount(project, authority.read_bytes())
        trusted = clients(project.root, *places_)
    assert {name: words for name, words in trusted.items() if "certificate" in words.lower()} == {}
    assert len(asked) >= 6


def test_a_file_is_read_from_a_server_whose_authority_is_trusted(
    real: Project, own: tuple[Path, ssl.SSLContext]
) -> None:
    authority, context = own
    content = (real.root / "pvc" / "data" / "train.csv").read_bytes()
    with server(context, content) as (port, asked):
        uri = f"https://data.example:{port}/train.csv"
        job = real.resolve_job(datasets=(real.source("train").model_copy(update={"uri": uri}),))
        problem = resolved(real, job).problem
        assert asked == []
        mount(real, authority.read_bytes())
        found = resolved(real, job).resolution
    assert problem is not None
    assert (problem.reason, problem.field, problem.value) == ("CertificateRefused", "data.sets[train].uri", uri)
    assert "unable to get local issuer certificate" in problem.message
    assert "see caBundle of the chart" in problem.remedy
    assert found is not None
    assert found.datasets[0].digest == sources.read(real.source("train"), mismatch="", remedy="").digest
    assert asked == ["/train.csv"]


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


@pytest.mark.long
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
