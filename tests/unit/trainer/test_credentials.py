"""What is read of a Secret, and that no message says what it holds."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.reports import BadInput
from stagecoach_trainer import credentials
from stagecoach_trainer.service_accounts import ENDPOINT, KEY, TOKENS

S3 = {"AWS_ACCESS_KEY_ID": b"hidden-id", "AWS_SECRET_ACCESS_KEY": b"hidden-key\n"}


def key(**changes: Any) -> bytes:
    """Return a key of a service account, as far as it is looked at."""
    given = {
        "type": "service_account",
        "client_email": "hidden@desk.iam.gserviceaccount.com",
        "private_key": "-----BEGIN PRIVATE KEY-----\nhidden",
        "token_uri": TOKENS[0],
    }
    return json.dumps({name: value for name, value in (given | changes).items() if value}, indent=2).encode()


def mounted(folder: Path, content: dict[str, bytes]) -> Path:
    """Mount a Secret as the kubelet does."""
    (folder / "..data").mkdir()
    for name, value in content.items():
        (folder / "..data" / name).write_bytes(value)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def test_only_what_is_known_is_read(tmp_path: Path) -> None:
    folder = mounted(tmp_path, {**S3, "keystore.jks": b"\xff\xfe\x00", "token": b"\xff"})
    assert credentials.read("s3", folder, "lake") == {
        "AWS_ACCESS_KEY_ID": "hidden-id",
        "AWS_SECRET_ACCESS_KEY": "hidden-key",
    }


def test_passwords_are_any_text(tmp_path: Path) -> None:
    folder = mounted(tmp_path, {"username": b"me", "password": "ein wörd".encode()})
    assert credentials.read("https", folder, "web") == {"username": "me", "password": "ein wörd"}


@pytest.mark.parametrize(
    ("scheme", "content", "reason", "words"),
    [
        ("s3", {"AWS_ACCESS_KEY_ID": b"hidden-id"}, "CredentialsIncomplete", "not AWS_SECRET_ACCESS_KEY"),
        ("s3", {"AWS_SECRET_ACCESS_KEY": b"hidden-key"}, "CredentialsIncomplete", "not AWS_ACCESS_KEY_ID"),
        ("https", {"password": b"hidden"}, "CredentialsIncomplete", "not username"),
        ("https", {"username": b"hidden", "password": b""}, "CredentialsIncomplete", "not password"),
        ("hf", {"token": b"hidden\xff"}, "CredentialsUnreadable", "key token"),
        ("hf", {"token": b"hidden\r\nX-More: hidden"}, "CredentialsUnreadable", "key token"),
        ("https", {"token": "hidden-wörd".encode()}, "CredentialsUnreadable", "key token"),
        ("https", {"username": b"me", "password": b"hidden\xff"}, "CredentialsUnreadable", "key password"),
        ("s3", {**S3, "AWS_REGION": b"hidden region"}, "CredentialsUnreadable", "key AWS_REGION"),
        ("s3", {"AWS_ENDPOINT_URL": b"10.0.0.1/hidden"}, "EndpointInvalid", "AWS_ENDPOINT_URL"),
        ("s3", {"AWS_ENDPOINT_URL": b"http://me:hidden@10.0.0.1"}, "EndpointInvalid", "AWS_ENDPOINT_URL"),
        ("s3", {"AWS_ENDPOINT_URL": b"http://hidden:port"}, "EndpointInvalid", "AWS_ENDPOINT_URL"),
        ("s3", {"AWS_ENDPOINT_URL": b"http://[hidden"}, "EndpointInvalid", "AWS_ENDPOINT_URL"),
        ("hf", {"HF_ENDPOINT": b"https://me:hidden@hub.example"}, "EndpointInvalid", "HF_ENDPOINT"),
        ("hf", {"HF_ENDPOINT": b"https://hub.example/?token=hidden"}, "EndpointInvalid", "HF_ENDPOINT"),
        ("hf", {"HF_ENDPOINT": b"file:///hidden"}, "EndpointInvalid", "HF_ENDPOINT"),
        ("gs", {}, "CredentialsIncomplete", f"has no {KEY}"),
        ("gs", {"key.json": b"hidden"}, "CredentialsIncomplete", f"has no {KEY}"),
        ("gs", {ENDPOINT: b"https://storage.googleapis.com"}, "CredentialsIncomplete", f"has no {KEY}"),
        ("gs", {KEY: b""}, "CredentialsIncomplete", f"has no {KEY}"),
        ("gs", {KEY: b"hidden"}, "CredentialsUnreadable", "is not the JSON of a key"),
        ("gs", {KEY: b"\xff{}"}, "CredentialsUnreadable", f"key {KEY}"),
        ("gs", {KEY: b'["hidden"]'}, "CredentialsUnreadable", "is not the JSON of a key"),
        ("gs", {KEY: key(type="authorized_user")}, "CredentialsUnreadable", "its type is another"),
        ("gs", {KEY: key(type="external_account")}, "CredentialsUnreadable", "its type is another"),
        ("gs", {KEY: key(private_key="")}, "CredentialsIncomplete", "has no private_key"),
        ("gs", {KEY: key(client_email=["hidden"])}, "CredentialsIncomplete", "has no client_email"),
        ("gs", {KEY: key(), ENDPOINT: b"storage.hidden"}, "EndpointInvalid", ENDPOINT),
        ("gs", {KEY: key(token_uri="https://hidden.example/token")}, "EndpointInvalid", "token_uri of"),
        ("gs", {KEY: key(token_uri="http://oauth2.googleapis.com/token")}, "EndpointInvalid", "token_uri of"),
        ("gs", {KEY: key(token_uri="https://oauth2.googleapis.com@hidden/token")}, "EndpointInvalid", "token_uri of"),
        ("gs", {KEY: key(), ENDPOINT: b"https://hidden.example"}, "EndpointInvalid", "token_uri of"),
        ("gs", {KEY: key(), ENDPOINT: b"http://storage.googleapis.com"}, "EndpointInvalid", "token_uri of"),
        ("gs", {KEY: key(), ENDPOINT: b"https://hiddengoogleapis.com"}, "EndpointInvalid", "token_uri of"),
        ("gs", {KEY: key(token_uri="https://["), ENDPOINT: b"https://x.example"}, "EndpointInvalid", "token_uri of"),
    ],
)
def test_what_cannot_be_used_is_not_told(
    tmp_path: Path, scheme: str, content: dict[str, bytes], reason: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        credentials.read(scheme, mounted(tmp_path, content), "lake")
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == (reason, "credentials", "")
    assert "lake" in problem.message
    assert problem.remedy
    for told in (problem.line(), "".join(traceback.format_exception(caught.value))):
        assert not [word for word in ("hidden", r"\xff", "0xff") if word in told]


@pytest.mark.parametrize(
    ("tokens", "endpoint"),
    [
        (TOKENS[0], ""),
        (TOKENS[1], ""),
        (TOKENS[0], "https://storage.googleapis.com"),
        (TOKENS[0], "https://storage-desk.p.googleapis.com/"),
        ("http://10.0.0.1:4443/token", "http://10.0.0.1:4443"),
        ("https://10.0.0.1/a/token", "https://10.0.0.1/"),
    ],
)
def test_tokens_and_storage_of_one_party_belong_together(tmp_path: Path, tokens: str, endpoint: str) -> None:
    content = {KEY: key(token_uri=tokens)} | ({ENDPOINT: endpoint.encode()} if endpoint else {})
    assert credentials.read("gs", mounted(tmp_path, content), "lake") == {
        name: value.decode() for name, value in content.items()
    }


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "HF_ENDPOINT", ENDPOINT])
@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("127.0.0.1:9000", True),
        ("localhost", True),
        ("[::1]:9000", True),
        ("[::ffff:127.0.0.1]", True),
        ("2130706433", True),
        ("127.1", True),
        ("0x7f.1", True),
        ("2852039166", True),
        ("0.0.0.0", True),  # noqa: S104
        ("169.254.169.254", True),
        ("[fe80::1]", True),
        ("[::ffff:169.254.169.254]", True),
        ("10.0.0.1:9000", False),
        ("192.168.1.1", False),
        ("[fd00::1]:9000", False),
        ("203.0.113.1", False),
        ("not-known.invalid", False),
    ],
)
def test_an_endpoint_is_a_server(monkeypatch: pytest.MonkeyPatch, name: str, host: str, refused: bool) -> None:
    monkeypatch.delenv(credentials.LOOPBACK_VARIABLE)
    keys = {name: f"http://{host}"}
    if not refused:
        credentials.check(keys, "lake")
        return
    with pytest.raises(BadInput, match="loopback or link-local") as caught:
        credentials.check(keys, "lake")
    assert caught.value.problem.reason == "AddressRefused"
    assert host not in caught.value.problem.line()
