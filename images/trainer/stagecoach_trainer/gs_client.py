"""Requests to Google Cloud Storage through gcsfs: its session and its tokens, with our own limits and repetitions.

gcsfs's own requests forget why one was refused, and repeat for a minute. Whose right is used is never a guess: the
service account of the Secret, or without a Secret the pod's own identity; never the public's.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

import requests
from aiohttp import ClientTimeout
from fsspec.asyn import sync
from gcsfs.core import GCSFileSystem
from google.auth import compute_engine
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from yarl import URL

from stagecoach.contract import progress
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import objects, service_accounts
from stagecoach_trainer.gs_errors import Foreign, Refused, may_pass
from stagecoach_trainer.service_accounts import ENDPOINT, KEY

SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
# Seconds before a request is repeated for the first time; then twice as many each time.
PAUSE = 1.0


class PodIdentity(compute_engine.Credentials):  # type: ignore[misc]
    """What the metadata server gives to this pod. A proxy has no part in it: the identity would be the proxy's."""

    def refresh(self, request: Any) -> None:  # noqa: ARG002 - the library's
        """Ask for a token."""
        with requests.Session() as session:
            session.trust_env = False
            super().refresh(Request(session))


@dataclass(frozen=True)
class Answer:
    """What the store said."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def document(self) -> dict[str, Any]:
        """Return the JSON object. Raises Foreign when it is none."""
        try:
            found = json.loads(self.content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Foreign
        return found

    def header(self, name: str) -> str:
        """Return a header that such a store sends. Raises Foreign when it is missing."""
        if found := self.headers.get(name):
            return found
        raise Foreign


class Client:
    """Requests with one identity."""

    def __init__(self, filesystem: Any, endpoint: str) -> None:
        self._fs, self._endpoint = filesystem, endpoint

    @classmethod
    def of(cls, keys: Mapping[str, str], secret: str) -> Self:
        """Return a client for what a Secret of this name holds. Raises BadInput when its key cannot be read."""
        endpoint = (keys.get(ENDPOINT) or service_accounts.STORAGE).rstrip("/")
        filesystem = GCSFileSystem(
            token=_account(keys[KEY], secret) if keys.get(KEY) else PodIdentity(scopes=SCOPES),
            endpoint_url=endpoint,
            requests_timeout=ClientTimeout(total=None, sock_connect=10, sock_read=60),
            session_kwargs={"trust_env": True, "auto_decompress": False},
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        return cls(filesystem, endpoint)

    def here(self, location: str) -> str:
        """Return the path and query of an address that the store named: it is asked where it always is."""
        parts = urlsplit(location)
        return f"{parts.path}?{parts.query}"

    def ask(
        self,
        method: str,
        path: str,
        *names: str,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        tries: int = 0,
        **asked: str,
    ) -> Answer:
        """Return the answer to a request, which is repeated if that may help. Raises Refused and what libraries do."""
        url = URL(self._endpoint + path.format(*(quote(name, safe="") for name in names)), encoded=True)
        url = url.update_query(asked) if asked else url
        tries, failures = tries or objects.TRIES, 0
        while True:
            try:
                return self._once(method, url, headers or {}, content)
            except Exception as error:
                failures += 1
                if failures == tries or not may_pass(error):
                    raise
            rest(failures)

    def _once(self, method: str, url: URL, headers: Mapping[str, str], content: bytes) -> Answer:
        # Here, where a token may be waited for, and not on the loop of all requests.
        self._fs.credentials.maybe_refresh()
        answer: Answer = sync(self._fs.loop, self._exchange, method, url, headers, content)
        if answer.status >= 300 and answer.status != 308:
            raise Refused.of(answer.status, answer.content)
        progress.made()
        return answer

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str], content: bytes) -> Answer:
        session = await self._fs._set_session()
        sent = self._fs._get_headers({"Accept-Encoding": "identity", **headers})
        async with session.request(
            method, url, headers=sent, data=content or None, allow_redirects=False, timeout=self._fs.requests_timeout
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


def rest(failures: int) -> None:
    """Wait before a request is repeated that has failed so many times."""
    time.sleep(PAUSE * 2 ** (failures - 1))


def _account(key: str, secret: str) -> Any:
    """Return the service account of a key that service_accounts has checked."""
    try:
        return service_account.Credentials.from_service_account_info(service_accounts.account(key), scopes=SCOPES)
    except (ValueError, GoogleAuthError):
        message = f"the private key in {KEY} of Secret {secret} is damaged."
        problem = Problem.of("CredentialsUnreadable", message, field="credentials", remedy=service_accounts.ANEW)
        # Without what led here: the log shows no content either.
        raise BadInput(problem) from None
