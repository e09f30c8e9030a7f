"""Which URL a kind lives at."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from stagecoach.kinds.controller import API_VERSION, Controller
from stagecoach.kinds.plan import Object


@dataclass(frozen=True)
class Resource:
    """A namespaced kind of object and its place in the API."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group, empty for the core one."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection (no name), an object, or a part of it."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        within = f"/namespaces/{quote(namespace)}" if namespace else ""
        tail = "".join(f"/{quote(part)}" for part in (name, subresource) if part)
        return f"{root}{within}/{self.plural}{tail}"

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


JOBS = Resource("batch/v1", "Job", "jobs")
PODS = Resource("v1", "Pod", "pods")
SERVICES = Resource("v1", "Service", "services")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
SECRETS = Resource("v1", "Secret", "secrets")
BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENTS = Resource("v1", "Event", "events")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")

# Children of these sorts are kept in memory.
WATCHED = (JOBS, PODS, SERVICES, DEPLOYMENTS, CONFIG_MAPS)
_BUILT_IN = (
    *WATCHED,
    SECRETS,
    BUDGETS,
    CLAIMS,
    EVENTS,
    LEASES,
    Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
)


class Resources:
    """The kinds that a plan may touch, by apiVersion and kind."""

    def __init__(self, controllers: Iterable[Controller] = ()) -> None:
        self.own = {each.kind: Resource(API_VERSION, each.kind, each.plural) for each in controllers}
        self._all = {(each.api_version, each.kind): each for each in (*_BUILT_IN, *self.own.values())}

    def of(self, obj: Object) -> Resource:
        """Return where this object lives; KeyError for a kind that no plan should touch."""
        return self._all[obj["apiVersion"], obj["kind"]]

    def all(self) -> tuple[Resource, ...]:
        """Return every kind that is known."""
        return tuple(self._all.values())
