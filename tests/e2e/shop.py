"""A deployment and its clients, as tests look at them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stagecoach.build.labels import COMPONENT, OWNER_UID
from tests import builders
from tests.clients import Clients
from tests.e2e import servers
from tests.e2e.conftest import POLL_SECONDS, SOON, Desk
from tests.following import has_all_requests
from tests.integration.support.eventually import eventually

KIND, NAME = "ModelDeployment", "desk"


@dataclass(frozen=True)
class Shop:
    """The deployment, and those who ask it."""

    desk: Desk
    clients: Clients
    name: str = NAME

    @property
    def deployment(self) -> builders.Object:
        """The deployment as it is."""
        return self.desk.kube.get(KIND, self.name)

    @property
    def status(self) -> builders.Object:
        """What is said of it."""
        return builders.Object(self.deployment.get("status", {}))

    def condition(self, kind: str) -> builders.Object:
        """Return a condition, empty before there is one."""
        return next((each for each in self.status.get("conditions", []) if each["type"] == kind), {})

    def want(self, **spec: Any) -> None:
        """Change what is wanted; None takes something away."""
        self.desk.kube.patch(KIND, self.name, {"spec": spec})

    def switch(self, run: str) -> None:
        """Have a run served."""
        self.want(model={"latest": None, "run": run})

    def awaits(self, look: Callable[[builders.Object], object], seconds: float, what: str) -> builders.Object:
        """Return the status once it is so; `look` is given the deployment."""

        def seen() -> builders.Object | None:
            deployment = self.deployment
            return deployment["status"] if look(deployment) else None

        try:
            found = eventually(seen, seconds, what, every=POLL_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.status}") from None
        assert found
        return found

    def serves(self, run: str, seconds: float = SOON) -> builders.Object:
        """Return the status once a run is served, and every gateway knows it."""
        return self.awaits(lambda deployment: has_all_requests(deployment, run), seconds, f"run {run} is served")

    def ready(self, component: str) -> list[builders.Object]:
        """Return those of them that requests reach."""
        return [pod for pod in self.pods(component) if servers.is_ready(pod)]

    def pods(self, component: str) -> list[builders.Object]:
        """Return the pods of a component that stay."""
        uid = self.deployment["metadata"]["uid"]
        found = self.desk.kube.select("Pod", f"{OWNER_UID}={uid},{COMPONENT}={component}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def fine(answers: Sequence[builders.Object], *releases: str) -> None:
    """Hold that every request was answered, by these releases alone."""
    assert answers
    failed = [answer for answer in answers if answer["status"] != 200]
    assert not failed, f"{len(failed)} of {len(answers)}: {failed[:3]}"
    assert {answer["release"] for answer in answers} <= set(releases)


def until(shop: Shop, begun: int, wanted: str, seconds: float = SOON) -> list[builders.Object]:
    """Return the answers from one on, once a release gives them, and has given the last ten."""

    def look() -> list[builders.Object]:
        found = shop.clients.answers()[begun:]
        last = [each.get("release") for each in found[-10:]]
        return found if last == [wanted] * 10 else []

    return eventually(look, seconds, f"clients are answered by {wanted}", every=POLL_SECONDS)
