"""HTTP connections to addresses that were looked at: where a name leads may be somewhere else a moment later."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import httpx2

from stagecoach_trainer import credentials


class Direct(httpx2.HTTPTransport):  # type: ignore[misc]
    """Resolves the host of each request itself, and connects to what `check` has not refused by raising."""

    def __init__(self, check: Callable[[Iterable[str]], None], **options: Any) -> None:
        super().__init__(**options)
        self._check = check

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises as `check` and httpx2 do, and OSError when nobody knows the name."""
        found = credentials.resolved(request.url.host, request.url.port)
        self._check(found)
        *others, last = found
        for address in others:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return self._ask(request, address)
        return self._ask(request, last)

    def _ask(self, request: httpx2.Request, address: str) -> httpx2.Response:
        there = httpx2.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,  # with the name as the host
            stream=request.stream,
            # The certificate has to be the name's.
            extensions=request.extensions | {"sni_hostname": request.url.host},
        )
        return super().handle_request(there)
