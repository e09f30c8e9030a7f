"""The gateways of a deployment as they are seen: whether they are up, and of the newest template."""

from dataclasses import dataclass

from stagecoach.kinds.modeldeployment import stuck
from stagecoach.kinds.modeldeployment.pods import Complaint, Pod, first_complaint
from stagecoach.kinds.plan import Object


@dataclass(frozen=True)
class Gateways:
    """Their Deployment, and their pods that stay."""

    found: Object | None
    pods: tuple[Pod, ...]

    @property
    def ready(self) -> tuple[Pod, ...]:
        """The pods that clients reach."""
        return tuple(pod for pod in self.pods if pod.ready)

    def complaint(self) -> Complaint | None:
        """Return what keeps gateways from being ready, if one says so."""
        return stuck.refused(self.found) or first_complaint(self.pods)

    def rolled(self) -> bool:
        """Whether all pods are of the newest template, and one of them is ready."""
        if self.found is None:
            return False
        metadata, status = self.found["metadata"], self.found.get("status", {})
        current = status.get("observedGeneration", 0) >= metadata.get("generation", 1)
        return bool(current and 0 < status.get("replicas", 0) == status.get("updatedReplicas", 0) and self.ready)
