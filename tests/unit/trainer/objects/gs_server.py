"""A real server of Cloud Storage's API, fake-gcs-server over a folder, behind a gate.

That server takes any token and none. The gate gives tokens for assertions of service accounts that it knows, lets in
who shows one, and can be told to answer otherwise. It also knows what that server does not: how much of an upload has
arrived, and which was given up.
"""

import json
import os
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from stagecoach.contract.uris import parse
from stagecoach_trainer.gs import GoogleStorage
from stagecoach_trainer.service_accounts import ENDPOINT, KEY

from .servers import Server, free_port, program

TRAINER, GUEST, NOBODY = (f"{name}@desk.iam.gserviceaccount.com" for name in ("trainer", "guest", "nobody"))


def _pair() -> tuple[str, str]:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    private = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.decode(), made.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


PRIVATE, PUBLIC = _pair()
WRONG, _ = _pair()


def key(server: str, email: str = TRAINER, private: str = PRIVATE, **changes: Any) -> str:
    """Return the JSON of a service account's key."""
    given = {"type": "service_account", "client_email": email, "private_key": private, "token_uri": f"{server}/token"}
    return json.dumps(given | changes)


@dataclass
class Request:
    """What the gate was asked."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def asked(self) -> dict[str, str]:
        """The query."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}


# Status, headers and body; None is no answer at all: the connection ends.
Reply = tuple[int, dict[str, str], bytes] | None
# Answers a request, or returns False and leaves it to the server; the second argument asks that server.
Trick = Callable[[Request, Callable[[Request], Reply]], "Reply | bool"]


def refusal(status: int, reason: str = "", message: str = "no") -> Reply:
    """Return a refusal in the words of the store."""
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()


@dataclass
class Gate:
    """Who may pass, and what was asked."""

    server_port: int
    tokens: dict[str, str] = field(default_factory=dict)
    trick: Trick | None = None
    seen: list[Request] = field(default_factory=list)
    arrived: dict[str, int] = field(default_factory=dict)
    ended: dict[str, Reply] = field(default_factory=dict)

    def answer(self, request: Request) -> Reply:
        """Answer a request."""
        self.seen.append(request)
        if request.path == "/token":
            return self._token(request)
        if self.trick and (found := self.trick(request, self._pass)) is not False:
            assert found is not True
            return found
        holder = self.tokens.get(request.headers.get("authorization", ""))
        if holder is None:
            return refusal(401, "authError", "Invalid Credentials")
        if holder == GUEST:
            return refusal(403, "forbidden", f"{holder} does not have storage.objects.list access")
        return self._pass(request)

    def _token(self, request: Request) -> Reply:
        assertion = parse_qs(request.content.decode())["assertion"][0]
        _, claims, _, _ = jwt._unverified_decode(assertion)
        error = {"error": "invalid_grant"}
        if claims["iss"] not in (TRAINER, GUEST):
            return 400, {}, json.dumps(error | {"error_description": "Invalid grant: account not found"}).encode()
        try:
            jwt.decode(assertion, certs=PUBLIC)
        except ValueError:
            return 400, {}, json.dumps(error | {"error_description": "Invalid JWT Signature."}).encode()
        token = secrets.token_hex(16)
        self.tokens[f"Bearer {token}"] = claims["iss"]
        given = {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}
        return 200, {"Content-Type": "application/json"}, json.dumps(given).encode()

    def _pass(self, request: Request) -> Reply:
        upload = request.asked.get("upload_id")
        if upload is None or request.method == "POST":
            reply = self._forward(request)
            if reply and (location := reply[1].get("Location")):
                self.arrived[parse_qs(urlsplit(location).query)["upload_id"][0]] = 0
            return reply
        return self._of_upload(request, upload)

    def _of_upload(self, request: Request, upload: str) -> Reply:
        if upload in self.ended:
            return self.ended[upload]
        if upload not in self.arrived:
            return refusal(404, "notFound")
        if request.method == "DELETE":
            del self.arrived[upload]
            return 499, {}, b""
        span = request.headers["content-range"]
        if not span.startswith("bytes */"):
            first, last, size = map(int, re.findall(r"\d+", span))
            have = self.arrived[upload]
            if first > have:
                return refusal(400, "invalid", "a gap")
            # Bytes that have arrived already count once.
            left = {**request.headers, "content-range": f"bytes {have}-{last}/{size}"}
            reply = self._forward(Request("PUT", request.path, left, request.content[have - first :]))
            self.arrived[upload] = last + 1
            if reply and reply[0] == 200:
                self.ended[upload] = reply
                del self.arrived[upload]
            return reply
        have = self.arrived[upload]
        return 308, {"Range": f"bytes=0-{have - 1}"} if have else {}, b""

    def _forward(self, request: Request) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name != "content-length"}
            connection.request(request.method, request.path, request.content, headers)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


@dataclass
class GsServer(Server):
    """fake-gcs-server and the gate; its port is the gate's."""

    scheme = "gs"
    program = "fake-gcs-server"
    _http: ThreadingHTTPServer | None = None
    _gate: Gate | None = None

    @property
    def gate(self) -> Gate:
        """The gate, once it is started."""
        assert self._gate is not None
        return self._gate

    @property
    def keys(self) -> dict[str, str]:
        """What a Secret for it holds."""
        return {KEY: key(self.endpoint), ENDPOINT: self.endpoint}

    @property
    def wrong_keys(self) -> dict[str, str]:
        """What a Secret holds that is refused."""
        return self.keys | {KEY: key(self.endpoint, private=WRONG, client_id="0000wrong")}

    def connect(self, bucket: str, path: str = "", **keys: str) -> GoogleStorage:
        """Return the store of a bucket, with other keys if they are given."""
        return GoogleStorage.connect(parse(f"gs://{bucket}{path}"), self.keys | keys, secret="lake")

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        body = json.dumps({"name": name}).encode()
        made = self.gate._forward(Request("POST", "/storage/v1/b?project=desk", {}, body))
        assert made is not None
        assert made[0] == 200, made

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it listens."""
        if self._gate is None:
            self._gate = Gate(free_port())
            self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._gate))
            self._http.daemon_threads = True
            self.port = self._http.server_port
            threading.Thread(target=self._http.serve_forever, daemon=True).start()
        place = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(self._gate.server_port))
        folder = ("-backend", "filesystem", "-filesystem-root", str(self.root), "-log-level", "error")
        self.run([program(self.program), *place, *folder], self._gate.server_port, dict(os.environ))

    def kill(self) -> None:
        """Let it be gone in this moment."""
        super().kill()
        # Of uploads that had not ended, nothing is left.
        self.gate.arrived.clear()


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                reply = gate.answer(Request(self.command, self.path, headers, content))
            except OSError:
                reply = None
            if reply is None:
                self.close_connection = True
                return
            status, given, body = reply
            self.send_response(status)
            for name, value in given.items():
                if name.lower() not in ("content-length", "date", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", given.get("X-Promised", str(len(body))))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = "X-Promised" in given

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
