"""What a reconcile decides on: what was observed, what is wished for, and the time."""

from dataclasses import dataclass
from datetime import datetime

from stagecoach.api.deployment_status import Served
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.build.serving_engine import Images, engine_name
from stagecoach.contract.admitted import Admitted
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.modeldeployment import engines
from stagecoach.kinds.modeldeployment.engines import Answering
from stagecoach.kinds.modeldeployment.observe import Observed
from stagecoach.policies.admission import NotAdmitted, Wanted


@dataclass(frozen=True)
class Scene:
    """All of it."""

    observed: Observed
    wish: Wanted | NotAdmitted
    settings: Settings
    now: datetime

    @property
    def deployment(self) -> ModelDeployment:
        """The deployment."""
        return self.observed.deployment

    @property
    def images(self) -> Images:
        """What an engine is made of that is decided on now."""
        return Images(engine=self.settings.engine_image, loader=self.settings.evaluator_image)

    def document(self, served: Served | None) -> Admitted | None:
        """Return what is known of a release that was admitted."""
        return self.observed.document(served)

    def fits(self, served: Served, admitted: Admitted) -> bool:
        """Whether the engine of a release is as the spec wants it, but for its images: these are of its admission."""
        return served.engine == engine_name(self.deployment, admitted, images_of(served))

    def answering(self, served: Served | None) -> Answering:
        """Return whether the engine of a release answers with it."""
        admitted = self.document(served)
        if served is None or admitted is None:
            return Answering()
        engine = self.observed.engine(served.engine)
        return engines.answering(engine, admitted, self.deployment.spec.replicas, self.now)


def images_of(served: Served) -> Images:
    """Return what the engine of a release is made of."""
    return Images(engine=served.engine_image, loader=served.loader_image)
