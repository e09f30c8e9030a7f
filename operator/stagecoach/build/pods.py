"""What all pods have in common: as whom they run, what they reach, and where they find it."""

from dataclasses import dataclass, field
from typing import Any

from stagecoach.api.pods import PodSettings
from stagecoach.api.transformerproject import TransformerProjectSpec
from stagecoach.contract import access, mounts, uris
from stagecoach.contract.access import Access, Credential

Object = dict[str, Any]

USER = 65532
# For the pod's own group, fsGroup, and for nobody else.
SECRET_MODE = 0o440
SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Network:
    """How pods reach what is not in the cluster. The ConfigMap is one of the pod's own namespace."""

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    ca_config_map: str = ""
    ca_key: str = ""

    def environment(self) -> list[Object]:
        """Return the variables that name the proxies; none without one."""
        if not (self.http_proxy or self.https_proxy):
            return []
        named = {"HTTP_PROXY": self.http_proxy, "HTTPS_PROXY": self.https_proxy, "NO_PROXY": self.no_proxy}
        return [{"name": name, "value": value} for name, value in named.items() if value]

    def volume(self) -> Object | None:
        """Return the volume with the certificate authorities, if there are any beside those of the image."""
        if not self.ca_config_map:
            return None
        items = [{"key": self.ca_key, "path": mounts.AUTHORITIES_FILE}]
        return {"configMap": {"name": self.ca_config_map, "items": items}}


@dataclass(frozen=True)
class Reach:
    """The places that a pod reads and writes, and what opens them."""

    storage: str | None  # URI of the project's storage
    sources: tuple[str, ...]  # URIs that are read
    credentials: tuple[Credential, ...] = ()  # those of the project; what no URI needs is not mounted
    useful: tuple[str, ...] = ()  # URIs without whose Secrets the pod starts all the same
    network: Network = field(default_factory=Network)
    only_reads: bool = False

    def environment(self) -> list[Object]:
        """Return what tells a program of places that are not mounted."""
        storage = self.storage if self.storage and not uris.parse(self.storage).mounted else None
        told = Access(storage=storage, credentials=self.credentials)
        return [] if told == Access() else [{"name": access.ENVIRONMENT_VARIABLE, "value": escaped(told.line())}]

    def volumes(self) -> tuple[list[Object], list[Object]]:
        """Return volumes and mounts: storage, sources and Secrets read-only, scratch on the node's disk."""
        volumes: dict[str, Object] = {"scratch": {"emptyDir": {}}}
        places: list[Object] = [{"name": "scratch", "mountPath": mounts.SCRATCH}]
        claims: dict[str, str] = {}
        storage = uris.parse(self.storage) if self.storage else None
        if storage and storage.mounted:
            claims[storage.name] = "storage"
            volumes["storage"] = {"persistentVolumeClaim": {"claimName": storage.name}}
            place: Object = {"name": "storage", "mountPath": mounts.STORAGE}
            place |= {"subPath": storage.path} if storage.path else {}
            places.append(place | ({"readOnly": True} if self.only_reads else {}))
        sources = [uri for uri in map(uris.parse, self.sources) if uri.mounted]
        for folder, uri in sorted({mounts.folder_of(uri): uri for uri in sources}.items()):
            if uri.scheme == "configmap":
                name = f"source-{len(volumes)}"
                volumes[name] = {"configMap": {"name": uri.name}}
            elif uri.name not in claims:
                name = claims[uri.name] = f"source-{len(volumes)}"
                volumes[name] = {"persistentVolumeClaim": {"claimName": uri.name}}
            else:
                name = claims[uri.name]
            places.append({"name": name, "mountPath": folder, "readOnly": True})
        needed = access.used((*([self.storage] if self.storage else []), *self.sources), self.credentials)
        useful = access.used(self.useful, self.credentials)
        for secret in sorted({*needed, *useful}):
            name = f"secret-{len(volumes)}"
            # A pod does not start without a Secret that it needs.
            optional = {} if secret in needed else {"optional": True}
            volumes[name] = {"secret": {"secretName": secret, "defaultMode": SECRET_MODE} | optional}
            places.append({"name": name, "mountPath": mounts.secret_folder(secret), "readOnly": True})
        if authorities := self.network.volume():
            volumes["authorities"] = authorities
            places.append({"name": "authorities", "mountPath": mounts.AUTHORITIES, "readOnly": True})
        return [{"name": name} | source for name, source in volumes.items()], places


def credentials(spec: TransformerProjectSpec) -> tuple[Credential, ...]:
    """Return which Secret is for which places."""
    return tuple(Credential(match=item.match, secret=item.secret.name) for item in spec.credentials)


def escaped(text: str) -> str:
    """Return a variable's value as Kubernetes has to be told it: $(NAME) is expanded, $$ stands for one dollar sign."""
    return text.replace("$", "$$")


def confined() -> Object:
    """Return what keeps a pod from more than its work: it speaks to no API server, and runs as nobody in particular."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def chosen(settings: PodSettings) -> Object:
    """Return what a project says of its pods, as a pod's spec has it."""
    said = {
        "serviceAccountName": settings.service_account_name,
        "imagePullSecrets": [secret.document() for secret in settings.image_pull_secrets],
        "priorityClassName": settings.priority_class_name,
        "nodeSelector": settings.node_selector,
        "tolerations": [item.document() for item in settings.tolerations],
    }
    return {key: value for key, value in said.items() if value}


def spread(labels: dict[str, str], **more: Any) -> Object:
    """Return the wish that pods with these labels get a node each; where there are too few they share one."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
        **more,
    }
