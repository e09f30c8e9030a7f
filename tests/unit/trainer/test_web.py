"""Data sets from a web server, and what a pod must not be made to read."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from stagecoach.contract import access
from stagecoach.contract.access import Access, Credential
from stagecoach.contract.inputs import Columns
from stagecoach.contract.jobs import DataSource, Split
from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import sources

from .conftest import Project

pytest.importorskip("aiohttp", reason="needs the trainer's libraries: runs inside the trainer image")
web = pytest.importorskip("stagecoach_trainer.web")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),  # noqa: S104
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("239.1.1.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2001:db8::1", False),
        ("fec0::1", False),
        ("feff:ffff::1", False),
        ("192.0.0.9", False),
        ("192.0.0.10", False),
        ("168.63.129.16", False),
        ("::ffff:168.63.129.16", False),
        ("168.63.129.17", True),
    ],
)
def test_what_is_a_public_address(address: str, public: bool) -> None:
    assert web.is_public(address) is public


class Handler(BaseHTTPRequestHandler):
    """Answers by the path, and remembers who asked with what."""

    asked: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path, self.headers.get("Authorization", "")))
        kind, _, rest = unquote(self.path[1:]).partition("/")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", rest.replace("PORT", str(self.server.server_port)))  # type: ignore[attr-defined]
            self.end_headers()
        elif kind == "status":
            self.send_error(int(rest.partition("/")[0]))
        else:
            content = b"text,label\nmy card is lost,card_lost\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) + (kind == "cut")))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


NAMES = {
    "data.example": "203.0.113.1",
    "other.example": "203.0.113.2",
    "other.example.": "203.0.113.2",
    "my_bucket.example": "203.0.113.3",
    "inside.example": "10.0.0.1",
    "in_side.example": "10.0.0.1",
}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A plain server of this machine under public names; the rules see the names' public addresses."""
    monkeypatch.setattr(Handler, "asked", [], raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    check = web.PublicResolver.resolve

    class Names:
        async def resolve(self, host: str, port: int, family: int) -> list[dict[str, Any]]:
            if host not in NAMES:
                raise OSError("no such name")
            return [
                {"hostname": host, "host": NAMES[host], "port": port, "family": family or 2, "proto": 0, "flags": 0}
            ]

    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        return [item | {"host": "127.0.0.1"} for item in await check(self, host, port, family)]

    monkeypatch.setattr(web, "ThreadedResolver", Names)
    monkeypatch.setattr(web.PublicResolver, "resolve", resolve)
    monkeypatch.setattr(web, "SCHEME", "http")
    documentation = web.is_public
    monkeypatch.setattr(web, "is_public", lambda at: at.startswith("203.0.113.") or documentation(at))
    yield server.server_port
    server.shutdown()
    server.server_close()


def read(path: str, port: int, host: str = "data.example", **keys: str) -> bytes:
    content: bytes = web.read(f"http://{host}:{port}/{path}", keys)
    return content


def test_a_file_is_read(port: int) -> None:
    assert read("rows.csv", port) == b"text,label\nmy card is lost,card_lost\n"
    assert Handler.asked == [(f"data.example:{port}", "/rows.csv", "")]


@pytest.mark.parametrize(
    ("keys", "header"),
    [({"token": "t"}, "Bearer t"), ({"username": "me", "password": "wörd"}, "Basic bWU6d8O2cmQ="), ({}, "")],
)
def test_credentials_go_to_their_own_place_only(port: int, keys: dict[str, str], header: str) -> None:
    read("to/http://other.example:PORT/rows.csv", port, **keys)
    read("to//team-b/rows.csv", port, **keys)
    assert [asked[2] for asked in Handler.asked] == [header, "", header, ""]
    assert Handler.asked[1][0] == f"other.example:{port}"


@pytest.mark.parametrize("host", ["my_bucket.example", "other.example.", "OTHER.Example"])
def test_a_redirect_may_lead_to_any_name(port: int, host: str) -> None:
    assert read(f"to/http://{host}:PORT/rows.csv", port) == b"text,label\nmy card is lost,card_lost\n"


@pytest.mark.parametrize(
    ("path", "host", "reason"),
    [
        ("rows.csv", "inside.example", "AddressRefused"),
        ("rows.csv", "127.0.0.1", "AddressRefused"),
        ("rows.csv", "[::1]", "AddressRefused"),
        ("to/http://inside.example:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://in_side.example:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://127.0.0.1:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://[::ffff:127.0.0.1]:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://[::ffff:127.0.0.1%25a.b]:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://169.254.169.254/latest", "data.example", "AddressRefused"),
        ("to/http://127.0.0.1.:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://127.1:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://2130706433:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://0x7f.1:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://localhost:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/http://localhost.:PORT/rows.csv", "data.example", "AddressRefused"),
        ("to/https://other.example/rows.csv", "data.example", "RedirectRefused"),
        ("to/http://me:word@other.example:PORT/rows.csv", "data.example", "RedirectRefused"),
        ("to/file:///etc/passwd", "data.example", "RedirectRefused"),
        ("to//to//to//to//to//to//to//to/x", "data.example", "RedirectRefused"),
        ("status/404", "data.example", "SourceMissing"),
        ("status/403", "data.example", "AccessDenied"),
        ("status/400", "data.example", "SourceRefused"),
    ],
)
def test_what_is_refused_is_not_asked_for(port: int, path: str, host: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(path, port, host)
    assert caught.value.problem.reason == reason
    assert caught.value.problem.remedy
    hosts = {asked[0] for asked in Handler.asked}
    assert hosts <= {f"data.example:{port}"}, "nothing else was connected to"


@pytest.mark.parametrize("host", ["data.example:99999", f"{'a' * 64}.example"])
def test_what_can_be_no_server_is_told_as_such(host: str) -> None:
    with pytest.raises(BadInput, match="it can be no address of a file") as caught:
        web.read(f"https://{host}/rows.csv", {})
    assert caught.value.problem.reason == "SourceRefused"


NOT_FOR_EVERYONE: list[tuple[str, dict[str, str], str, str]] = [
    ("status/403", {}, "", "Let spec.credentials name a Secret"),
    ("status/401", {"token": "t0ken"}, "web", "does not accept the token in Secret web"),
    ("status/403", {"username": "me", "password": "w0rd"}, "web", "the username and password in Secret web"),
    ("status/403", {}, "web", "or a token, into Secret web"),
    ("to/http://other.example:PORT/status/403", {"token": "t0ken"}, "web", "It leads to other.example, and what Secret web holds is not sent along"),
    ("to//status/403", {"token": "t0ken"}, "web", "what Secret web holds is not sent along: name the URI"),
    ("to/http://other.example:PORT/status/403", {}, "", "It leads to other.example: name the URI"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "keys", "secret", "words"), NOT_FOR_EVERYONE)
def test_a_file_that_is_not_for_everyone(port: int, path: str, keys: dict[str, str], secret: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        web.read(f"http://data.example:{port}/{path}", keys, secret)
    problem = caught.value.problem
    assert problem.reason == "AccessDenied"
    assert words in problem.remedy
    assert problem.sentence.startswith(f"http://data.example:{port}/")
    assert "t0ken" not in problem.line()
    assert "w0rd" not in problem.line()


@pytest.mark.parametrize(
    ("path", "host", "reason"),
    [
        ("status/503", "data.example", "ServerFailed"),
        ("status/429", "data.example", "ServerFailed"),
        ("cut/rows.csv", "data.example", "EndpointUnreachable"),
        ("rows.csv", "absent.example", "EndpointUnreachable"),
    ],
)
def test_what_may_pass(port: int, path: str, host: str, reason: str) -> None:
    with pytest.raises(StorageFailed) as caught:
        read(path, port, host)
    assert caught.value.problem.reason == reason


def test_a_file_may_not_be_larger_than_a_pod_can_hold(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert web.MAX_BYTES == 256 << 20
    content = read("rows.csv", port)
    monkeypatch.setattr(web, "MAX_BYTES", len(content))
    assert read("rows.csv", port) == content
    monkeypatch.setattr(web, "MAX_BYTES", len(content) - 1)
    with pytest.raises(BadInput) as caught:
        read("rows.csv", port)
    assert caught.value.problem.reason == "SourceTooLarge"


def test_a_data_set_has_its_secret_and_its_field(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = project.root / "credentials" / "web"
    secret.mkdir(parents=True)
    (secret / "token").write_text("t\n")
    told = Access(credentials=(Credential(match="https://data.example/desk", secret="web"),))
    monkeypatch.setenv(access.ENVIRONMENT_VARIABLE, told.line())
    content = (project.root / "pvc/data/train.csv").read_bytes()
    asked = []

    def answer(url: str, keys: dict[str, str], secret: str) -> bytes:
        asked.append((url, keys, secret))
        return content

    monkeypatch.setattr(web, "read", answer)
    uri = "https://data.example/desk/train.csv"
    source = DataSource(name="train", uri=uri, split=Split.TRAIN, columns=Columns())
    found = sources.read(source, mismatch="", remedy="")
    assert found.digest == sources.read(project.source("train"), mismatch="", remedy="").digest
    assert asked == [(uri, {"token": "t"}, "web")]


@pytest.mark.usefixtures("project", "port")
def test_a_refusal_names_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SCHEME", "https")
    uri = "https://inside.example/desk/train.csv"
    with pytest.raises(BadInput) as caught:
        sources.read(DataSource(name="d", uri=uri, split=Split.TRAIN, columns=Columns()), mismatch="", remedy="")
    assert (caught.value.problem.reason, caught.value.problem.field) == ("AddressRefused", "data.sets[d].uri")
