"""As much of a Kubernetes client as starting a cluster takes."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, cast

_SECONDS = 10


class Api:
    """Requests to the server that a kubeconfig of this package names."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = cast(str, cluster["server"])
        self._token = user["token"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        # No proxy stands between a machine and itself, whatever its environment says.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )

    def is_ready(self) -> bool:
        """Tell whether the server says that it is ready."""
        return self.says_ok("/readyz")

    def says_ok(self, path: str) -> bool:
        """Tell whether a health check passes."""
        try:
            return self._request("GET", path) == b"ok"
        except OSError:
            return False

    def get(self, path: str) -> dict[str, Any] | None:
        """Read an object or list; None when it does not exist or the server does not answer."""
        try:
            return cast(dict[str, Any], json.loads(self._request("GET", path)))
        except OSError:
            return None

    def apply(self, path: str, body: dict[str, Any]) -> None:
        """Create an object or make it so."""
        self._request("PATCH", f"{path}?fieldManager=cluster&force=true", json.dumps(body).encode())

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/apply-patch+yaml"}
        request = urllib.request.Request(self.server + path, body, headers, method=method)  # noqa: S310 - always https
        try:
            with self._opener.open(request, timeout=_SECONDS) as response:
                return cast(bytes, response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None
