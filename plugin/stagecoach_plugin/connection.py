"""The cluster of a kubeconfig, asked as kubectl asks it: the same context, the same user, the same certificates."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import cast
from urllib.parse import quote

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from urllib3.exceptions import HTTPError

from stagecoach_plugin.kinds import GROUP, VERSION, Kind
from stagecoach_plugin.problems import Missing, Object, Problem, of_answer

TIMEOUT = urllib3.Timeout(connect=5, read=30)


class Connection:
    """Requests about one namespace, with the rights of the kubeconfig's user."""

    def __init__(self, settings: Configuration, namespace: str, headers: tuple[tuple[str, str], ...]) -> None:
        self.namespace = namespace
        self._settings = settings
        self._headers = headers
        # The library's pool has the proxy and the certificates; its requests know no header that stands twice.
        self._pool = RESTClientObject(settings).pool_manager

    def get(self, kind: Kind, name: str) -> Object:
        """Return an object. Raises Problem: Missing names others that are alike."""
        try:
            return self._ask("GET", kind.path(self.namespace, quote(name, safe="")), "get", kind.resource, name)
        except Missing as missing:
            raise Missing(missing.message, self._alike(kind, name)) from None

    def every(self, kind: Kind) -> list[Object]:
        """Return all objects of the kind."""
        found = self._ask("GET", kind.path(self.namespace), "list", kind.resource, "")
        return [item | {"kind": kind.name} for item in found["items"]]

    def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object."""
        whole = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind.name} | obj
        name = str(obj["metadata"]["name"])
        path = kind.path(self.namespace) + "?fieldManager=kubectl-stagecoach&fieldValidation=Strict"
        return self._ask("POST", path, "create", kind.resource, name, whole)

    def who_am_i(self) -> tuple[str, tuple[str, ...]]:
        """Return the user's name and groups, as the API server knows them."""
        group = "authentication.k8s.io"
        review = {"apiVersion": f"{group}/v1", "kind": "SelfSubjectReview"}
        path = f"/apis/{group}/v1/selfsubjectreviews"
        answer = self._ask("POST", path, "create", f"selfsubjectreviews.{group}", "", review)
        user = answer["status"]["userInfo"]
        return str(user["username"]), tuple(user.get("groups", ()))

    def _alike(self, kind: Kind, name: str) -> Sequence[str]:
        try:
            names = [item["metadata"]["name"] for item in self.every(kind)]
        except Problem:
            return ()
        return get_close_matches(name, names, n=3)

    def _ask(self, method: str, path: str, verb: str, resource: str, name: str, body: Object | None = None) -> Object:
        status, text = self._send(method, path, body)
        if not 200 <= status < 300:
            raise of_answer(status, text, verb, resource, name, self.namespace)
        try:
            return cast(Object, json.loads(text))
        except ValueError:
            raise Problem(
                f"What answers at {self._settings.host} is no API server of Kubernetes: see the cluster's server in the"
                " kubeconfig, and proxies on the way."
            ) from None

    def _send(self, method: str, path: str, body: Object | None) -> tuple[int, str]:
        headers = urllib3.HTTPHeaderDict({"Accept": "application/json", "User-Agent": "kubectl-stagecoach"})
        if body is not None:
            headers["Content-Type"] = "application/json"
        token = self._settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        for key, value in self._headers:
            headers.add(key, value)
        content = None if body is None else json.dumps(body).encode()
        url = f"{self._settings.host}{path}"
        try:
            answer = self._pool.request(method, url, body=content, headers=headers, timeout=TIMEOUT, retries=False)
        except (HTTPError, OSError) as error:
            raise _unreachable(self._settings.host, error) from error
        return answer.status, answer.data.decode(errors="replace")


def _unreachable(host: str, error: Exception) -> Problem:
    cause = str(getattr(error, "reason", None) or error).partition(": ")[2] or str(error)
    return Problem(
        f"The API server at {host} cannot be reached: {cause.rstrip('.')}. See whether you are in its network (VPN,"
        " proxy), and whether the context is the right one."
    )
