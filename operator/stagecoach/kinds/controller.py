"""What the runtime needs to know of a kind."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from stagecoach.build.engines import EngineImage
from stagecoach.build.labels import API_VERSION as API_VERSION
from stagecoach.build.labels import GROUP as GROUP
from stagecoach.build.labels import MANAGED_BY as MANAGED_BY
from stagecoach.build.labels import OWNER_KIND as OWNER_KIND
from stagecoach.build.labels import OWNER_NAME as OWNER_NAME
from stagecoach.build.labels import OWNER_UID as OWNER_UID
from stagecoach.build.labels import REPORTS_PROGRESS as REPORTS_PROGRESS
from stagecoach.build.labels import VERSION as VERSION
from stagecoach.build.pods import Network
from stagecoach.kinds.plan import Key, Object, Plan
from stagecoach.kinds.view import View


@dataclass(frozen=True)
class Settings:
    """What the person who installed the operator chose."""

    trainer_image: str
    evaluator_image: str
    # None: nothing is judged or served by an engine of its own, on GPUs or without.
    engine_image: str = ""
    engine_cpu_image: str = ""
    gateway_image: str = ""  # none: nothing is served
    trainer_pull_policy: str = "IfNotPresent"
    evaluator_pull_policy: str = "IfNotPresent"
    engine_pull_policy: str = "IfNotPresent"
    engine_cpu_pull_policy: str = "IfNotPresent"
    gateway_pull_policy: str = "IfNotPresent"
    namespace: str = ""  # the operator's own: from there alone loaders are reached
    network: Network = field(default_factory=Network)
    # From it the keys of all deployments are derived (policies/keys.py). Empty: nothing is served.
    master_key: bytes = field(default=b"", repr=False)

    def engine(self, gpus: int) -> EngineImage:
        """Return the engine's image for pods with so many GPUs: builds of vLLM are for the one or the other."""
        if gpus:
            return EngineImage("engine.image", self.engine_image, self.engine_pull_policy)
        return EngineImage("engineCpu.image", self.engine_cpu_image, self.engine_cpu_pull_policy)


def _never(_view: View, _raw: Object) -> bool:
    return False


@dataclass(frozen=True)
class Controller:
    """One kind: its names, its neighbours and its reconcile."""

    kind: str
    plural: str
    # What this one names: objects, and what it shares with others of its kind. By it a `View` finds its referrers.
    references: Callable[[Object], tuple[Key, ...]]
    # The other objects to reconcile because the one of this key was as it was, and is as it is; None when it was not
    # there, or is not any more. An answer that is longer than need be costs a reconcile for each.
    wakes: Callable[[Key, View, Object | None, Object | None], Iterable[Key]]
    # Observe and decide. Raises nothing that a user can cause.
    reconcile: Callable[[View, Object, datetime, Settings], Plan]
    # Whether a reconcile would do nothing as long as nothing happens to the object, or to a child of it.
    rests: Callable[[View, Object], bool] = _never
