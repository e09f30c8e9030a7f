"""What a Secret holds for a place: the keys that are known for its scheme, and nothing of what lies beside them.

No message says what a key holds: what is wrong with it ends in the status, which more people read than Secrets.
"""

import os
import re
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import service_accounts
from stagecoach_trainer.service_accounts import ENDPOINT, KEY

KEYS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"),
    "gs": (KEY, ENDPOINT),
    "https": ("username", "password", "token"),
    "hf": ("token", "HF_ENDPOINT"),
    "mlflow": ("username", "password", "token"),
}
PAIRS = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("username", "password"))
ENDPOINTS = {
    "AWS_ENDPOINT_URL": r"https?://[A-Za-z0-9._:\[\]-]+/?",
    ENDPOINT: r"https?://[A-Za-z0-9._:\[\]-]+/?",
    "HF_ENDPOINT": r"https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._/-]*)?",
}
# These are sent encoded, or a signature made with them; all others as they are, in headers and addresses.
_ANY_TEXT = ("username", "password", KEY)
# For tests alone, whose servers are on their own machine. No Secret and no custom resource can set it.
LOOPBACK_VARIABLE = "STAGECOACH_TESTS_USE_LOOPBACK"


def read(scheme: str, folder: Path, secret: str) -> dict[str, str]:
    """Return what a mounted Secret holds for a scheme, by key. Raises BadInput when that cannot be used."""
    there = {file.name for file in folder.iterdir()}
    keys = {name: _text(folder / name, secret) for name in KEYS[scheme] if name in there}
    check(keys, secret)
    if scheme == "gs":
        _check_service_account(keys, secret)
    return keys


def check(keys: Mapping[str, str], secret: str) -> None:
    """Raise BadInput when a key is missing beside another, or an endpoint is none."""
    for pair in PAIRS:
        if len(given := [name for name in pair if keys.get(name)]) == 1:
            absent = next(name for name in pair if name not in given)
            _refuse("CredentialsIncomplete", f"Secret {secret} has {given[0]} and not {absent}.", "Give it both.")
    for name, pattern in ENDPOINTS.items():
        if keys.get(name):
            _check_endpoint(name, keys[name], pattern, secret)


def opening(keys: Mapping[str, str], secret: str, may: str) -> str:
    """Say what opens a server that has refused what was sent to it, so that one `may` do something there."""
    if not secret:
        return "Let spec.credentials name a Secret with a username and a password, or a token, for this place."
    given = "token" if keys.get("token") else "username and password" if keys.get("username") else ""
    if not given:
        return f"Put a username and a password, or a token, into Secret {secret}."
    refused = f"The server does not accept the {given} in Secret {secret}, or does not let their owner {may}"
    return f"{refused}: correct the Secret, or name another."


def _check_service_account(keys: Mapping[str, str], secret: str) -> None:
    if not keys.get(KEY):
        # Whoever names a Secret does not mean the pod's own identity.
        _refuse("CredentialsIncomplete", f"Secret {secret} has no {KEY}.", service_accounts.ANEW)
    if refusal := service_accounts.refusal(keys[KEY], keys.get(ENDPOINT, "")):
        reason, message, remedy = refusal
        _refuse(reason, message.format(secret=f"Secret {secret}"), remedy)


def _text(file: Path, secret: str) -> str:
    try:
        text = file.read_bytes().decode().strip()
    except UnicodeDecodeError:
        text = None
    if text is None or not (file.name in _ANY_TEXT or re.fullmatch(r"[!-~]*", text)):
        message = f"key {file.name} of Secret {secret} is not what it can be: text without spaces or line breaks."
        _refuse("CredentialsUnreadable", message, "Write the key again, as plain text.")
    return text


def _check_endpoint(name: str, endpoint: str, pattern: str, secret: str) -> None:
    found = addresses(endpoint) if re.fullmatch(pattern, endpoint) else None
    if found is None:
        message = f"{name} in Secret {secret} is no address of a server."
        _refuse("EndpointInvalid", message, "Write it as https://<host> or http://<host>:<port>.")
    if not may_be_asked(found):
        message = f"{name} in Secret {secret} leads to an address that only a machine itself can mean."
        _refuse("AddressRefused", message, "Use the address of a server, not a loopback or link-local one.")


def addresses(endpoint: str) -> list[str] | None:
    """Return the addresses of a URL's host; None when that can be none."""
    try:
        parts = urlsplit(endpoint)
        return resolved(parts.hostname, parts.port)
    except ValueError:
        return None
    except OSError:
        return []  # a name that is not known now: connecting says so, and it may pass


def resolved(host: str | None, port: int | None) -> list[str]:
    """Return the addresses of a host. Raises OSError, and ValueError when it can be none."""
    return [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def may_be_asked(found: Iterable[str]) -> bool:
    """Whether a server may have these addresses."""
    return bool(os.environ.get(LOOPBACK_VARIABLE)) or not any(map(is_of_a_machine, found))


def is_of_a_machine(address: str) -> bool:
    """Whether an address is loopback or link-local: the pod's own, or a cloud's services for the node."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified


def _refuse(reason: str, message: str, remedy: str) -> NoReturn:
    # Without what led here: the log shows no content either.
    raise BadInput(Problem.of(reason, message, field="credentials", remedy=remedy)) from None
