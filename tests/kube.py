"""A small synchronous client for tests, apart from the operator's own."""

import json
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from kubernetes import config

from stagecoach.runtime.resources import Resource, Resources

Object = dict[str, Any]

_MORE = (
    Resource("v1", "Namespace", "namespaces"),
    Resource("v1", "ServiceAccount", "serviceaccounts"),
    Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
    Resource("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"),
    Resource("rbac.authorization.k8s.io/v1", "Role", "roles"),
    Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    Resource("v1", "ResourceQuota", "resourcequotas"),
    Resource("v1", "Node", "nodes"),
    Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"),
    Resource("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    Resource(
        "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"
    ),
)
_CLUSTER_WIDE = {
    *("Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
}
_STAGECOACH = "stagecoach.dev/v1alpha1"


class KubeError(AssertionError):
    """A request was refused; a test may expect a code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Kube:
    """Requests by kind and name, over connections that are kept; the namespace is that of the test unless given."""

    def __init__(self, kubeconfig: Path, namespace: str = "default") -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._api = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        self._kinds = {each.kind: each for each in (*Resources().all(), *_MORE)}

    def within(self, namespace: str) -> "Kube":
        """Return the same client for another namespace."""
        return Kube(self.kubeconfig, namespace)

    def get(self, kind: str, name: str) -> Object:
        """Return an object; KubeError with code 404 when it does not exist."""
        return self.request("GET", self.path(kind, name))

    def find(self, kind: str, name: str) -> Object | None:
        """Return an object, or None."""
        try:
            return self.get(kind, name)
        except KubeError as error:
            if error.code == 404:
                return None
            raise

    def select(self, kind: str, selector: str = "") -> list[Object]:
        """Return the objects that a label selector chooses."""
        query = "?" + urlencode({"labelSelector": selector}) if selector else ""
        return cast(list[Object], self.request("GET", self.path(kind) + query)["items"])

    def log(self, pod: str) -> str:
        """Return what a pod's container has printed."""
        return self._send("GET", self.path("Pod", pod, "log")).decode(errors="replace")

    def create(self, obj: Object) -> Object:
        """Create an object, in the test's namespace if it names none."""
        return self.request("POST", self.path(obj["kind"]), obj)

    def apply(self, obj: Object) -> Object:
        """Create an object, or make it so, under a field manager of the tests."""
        path = self.path(obj["kind"], obj["metadata"]["name"]) + "?fieldManager=tests&force=true"
        # What the server reads as YAML may be no escape of half a character, as JSON has them.
        text = json.dumps(obj, ensure_ascii=False).encode()
        return self.request("PATCH", path, text, "application/apply-patch+yaml")

    def patch(self, kind: str, name: str, patch: Object, subresource: str = "") -> Object:
        """Merge a patch into an object."""
        path = self.path(kind, name, subresource)
        return self.request("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, kind: str, name: str, policy: str = "Background") -> None:
        """Delete an object."""
        self.request("DELETE", self.path(kind, name), {"propagationPolicy": policy})

    def path(self, kind: str, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a kind, an object or its part. An unknown kind is one of ours, with a plain plural."""
        resource = self._kinds.get(kind) or Resource(_STAGECOACH, kind, f"{kind.lower()}s")
        return resource.path(None if kind in _CLUSTER_WIDE else self.namespace, name, subresource)

    def request(
        self, method: str, path: str, body: Object | bytes | None = None, content: str = "application/json"
    ) -> Object:
        """Send one request and return the answer's object."""
        return cast(Object, json.loads(self._send(method, path, body, content)))

    def _send(
        self, method: str, path: str, body: Object | bytes | None = None, content: str = "application/json"
    ) -> bytes:
        headers = {"Content-Type": content}
        asked = self._api.param_serialize(method, path, None, [], headers, body, auth_settings=["BearerToken"])
        answer = self._api.call_api(*asked, _request_timeout=60)  # a disk that is busy holds etcd up
        text = cast(bytes, answer.read())
        if not 200 <= answer.status < 300:
            raise KubeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}", answer.status)
        return text
