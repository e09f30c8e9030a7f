"""What a reconcile decides on: what was observed, what is wished for, and the time."""

from dataclasses import dataclass, field
from datetime import datetime

from stagecoach.api.common import ConditionStatus
from stagecoach.api.deployment_status import Candidate, Served
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build.gateway import admitted_config_map
from stagecoach.build.recipes import Images, Recipe, engine_name, recipe
from stagecoach.contract import loading
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.digests import Digest
from stagecoach.contract.times import moment
from stagecoach.kinds.conditions import of
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.modeldeployment import engines
from stagecoach.kinds.modeldeployment.engines import Answering
from stagecoach.kinds.modeldeployment.observe import Observed
from stagecoach.kinds.modeldeployment.refused import Refused
from stagecoach.kinds.modeldeployment.telling import Heard
from stagecoach.policies import scaling
from stagecoach.policies.admission import Followed, NotAdmitted, Wanted
from stagecoach.policies.rollout import WEIGHT_HOLDS


@dataclass(frozen=True)
class Scene:
    """All of it."""

    observed: Observed
    wish: Wanted | NotAdmitted
    settings: Settings
    now: datetime
    refused: Refused = field(default_factory=Refused)
    heard: Heard | None = None  # what gateways said of the routes; None: nobody has told them any

    @property
    def deployment(self) -> ModelDeployment:
        """The deployment."""
        return self.observed.deployment

    @property
    def images(self) -> Images:
        """What an engine is made of that is decided on now."""
        engine = self.settings.engine(self.deployment.spec.engine.resources.gpus)
        return Images(engine=engine.image, loader=self.settings.evaluator_image)

    @property
    def pods(self) -> int:
        """How many pods an engine is to have now."""
        serving = self.deployment.status.serving
        found = self.observed.engine(serving.engine).found if serving else None
        return scaling.pods(self.deployment, found["spec"]["replicas"] if found else None)

    def moves(self, candidate: Candidate) -> bool:
        """Whether a candidate is what is served, on another engine."""
        serving = self.deployment.status.serving
        return serving is not None and serving.release == candidate.release

    def comes_back(self, candidate: Candidate) -> bool:
        """Whether a candidate has had all requests before, and its gates let it back in for what was revoked."""
        status = self.deployment.status
        was_served = any(each.release == candidate.release for each in status.history)
        revoked = status.serving is None and status.revoked is not None
        return revoked and was_served and candidate.override is None

    def named(self, served: Served) -> bool:
        """Whether the spec wants this one and no other: by name, or for another deployment serves it."""
        model, followed = self.deployment.spec.model, self.observed.followed
        follows = isinstance(followed, Followed) and followed.release == served.release
        by_name = (served.run, served.base) in ((model.run, None), (None, model.candidate))
        return by_name or served.release == model.release or follows

    @property
    def settled(self) -> bool:
        """Whether gateways have the routes that follow from the status, but for those that nobody waits for."""
        routes = self.deployment.status.routes
        return routes is not None and self.heard is not None and self.heard.settled(moment(routes.since), self.now)

    @property
    def routed(self) -> bool:
        """Whether requests go by these routes: gateways have them, and clients reach one."""
        return self.settled and self.heard is not None and self.heard.acknowledged > 0

    def document(self, served: Served | None) -> Admitted | None:
        """Return what is known of a release that was admitted."""
        return self.observed.document(served)

    def recipe(self, served: Served) -> Recipe | None:
        """Return what the engine of a release is made of."""
        return self.observed.recipes.get(served.engine)

    def fits(self, served: Served, admitted: Admitted, project: TransformerProject) -> bool:
        """Whether the engine of a release is as spec and project ask for it: what an operator decides is as it was."""
        now, made_of = self._as_asked(served, admitted, project), self.recipe(served)
        return made_of.asked == now.asked if made_of else served.engine == engine_name(self.deployment, now)

    def remade(self, served: Served) -> Admitted | None:
        """Return what was admitted, from its run, if it has one, and its project, if they still say the same."""
        made = self.observed.candidates.made.get((served.run or "", served.base or ""))
        if made is None or admitted_config_map(self.deployment, made)["metadata"]["name"] != served.admitted:
            return None
        return made

    def recipe_remade(self, served: Served) -> Recipe | None:
        """Return what the engine of a release is made of, from spec and project, if they still say the same."""
        admitted = self.document(served) or self.remade(served)
        if admitted is None or self.observed.project is None:
            return None
        now = self._as_asked(served, admitted, self.observed.project)
        return now if served.engine == engine_name(self.deployment, now) else None

    def _as_asked(self, served: Served, admitted: Admitted, project: TransformerProject) -> Recipe:
        images = Images(engine=served.engine_image, loader=served.loader_image)
        return recipe(self.deployment, admitted, images, project)

    def wanted(self, engine: str) -> loading.Wanted | None:
        """Return the adapters with which an engine is to answer; None when that is not known.

        A loader forgets what it is not asked for: so it is asked for what has requests, though its document be lost. Of
        an engine that has adapters all releases are such.
        """
        status = self.deployment.status
        served = [each for each in (status.serving, status.candidate) if each is not None and each.engine == engine]
        asked = [each for each in served if self.document(each) or _has_requests(each)]
        documents = [admitted for each in asked if (admitted := self.document(each))]
        if all(each.artifact != "Adapter" for each in documents):
            return engines.wanted(documents) if documents else None
        adapters = [self._artifact(each) for each in asked]
        found = tuple(dict.fromkeys(each for each in adapters if each))
        return loading.Wanted(adapters=found) if all(adapters) else None

    def _artifact(self, served: Served) -> Digest | None:
        known = self.observed.known(served)
        return known.described.release.artifact if known else served.artifact

    def answering(self, served: Served | None) -> Answering:
        """Return whether the engine of a release answers with it."""
        admitted = self.document(served)
        if served is None or admitted is None:
            return Answering()
        engine = self.observed.engine(served.engine)
        return engines.answering(engine, admitted, self._enough(served), self.now, self._silent_since(served))

    def _silent_since(self, served: Served) -> datetime | None:
        """Return since when no pod may have answered with a release, as the status has it."""
        if isinstance(served, Candidate):
            # A weight is renewed before half of its time is over, while one answers.
            until = served.weight_until
            return moment(until) - WEIGHT_HOLDS / 2 if until else moment(served.since)
        loaded = of(self.deployment.status.conditions, "Loaded")
        if loaded is None or loaded.status is not ConditionStatus.FALSE:
            return None
        return moment(loaded.last_transition_time)

    def _enough(self, served: Served) -> int:
        """Return on how many pods a release has to answer: a candidate on as many as what serves has, or gets soon."""
        wanted, serving = self.pods, self.deployment.status.serving
        if self.deployment.spec.autoscaling is None or serving is None or not isinstance(served, Candidate):
            return wanted
        return engines.counted_on(self.observed.engine(serving.engine), wanted, self.now)


def _has_requests(served: Served) -> bool:
    return not isinstance(served, Candidate) or served.weight is not None
