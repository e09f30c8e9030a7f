"""What a gate's candidates are compared with: the release that a deployment which names the gate serves.

What serves is compared with what it took the place of, as it was when it was admitted: so its verdict stays its word
as long as gate and data stay, and of each pair of releases there is one Evaluation, however often they change places.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from pydantic import ValidationError

from stagecoach.api.evalgate import Against, EvalGate
from stagecoach.api.evaluation import JudgedIncumbent
from stagecoach.contract.digests import short
from stagecoach.kinds.evalgate import asked
from stagecoach.kinds.evalgate.released import Unjudged
from stagecoach.kinds.plan import Object


@dataclass(frozen=True)
class Incumbents:
    """What a deployment serves, and what served before: releases, by their digests."""

    serving: str | None = None
    before: str | None = None
    known: Mapping[str, JudgedIncumbent] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, deployment: Object, judged: Iterable[Object]) -> Self:
        """Return those of a deployment; the project's Evaluations say what the releases are.

        What served before, and nobody knows any more, is nothing to compare with: what serves is judged all the same,
        and known by that to those that are compared with it.
        """
        serving, before = asked.served(deployment)
        known = _known({serving, before}, judged)
        return cls(serving, before if before in known else None, known)

    def beside(self, release: str) -> JudgedIncumbent | None:
        """Return what a release is compared with, if anything. Raises Unjudged when nobody knows what that is."""
        reference = self.before if release == self.serving else self.serving
        if reference is None or reference in self.known:
            return self.known[reference] if reference else None
        message = (
            f"it has to be compared with the release {short(reference)}, which no Evaluation of the project names any"
            " more. Create a run with the same inputs as the one that made that release, which is judged then."
        )
        raise Unjudged("IncumbentUnknown", message)


NOBODY = Incumbents()


def compares(gate: EvalGate) -> bool:
    """Whether a gate asks for more than what a release is by itself, or beside its base."""
    return any(each.against is Against.INCUMBENT for each in gate.spec.criteria)


def _known(releases: set[str | None], judged: Iterable[Object]) -> dict[str, JudgedIncumbent]:
    """Return what Evaluations of releases, or beside them, say of these: the newest, where they name several runs."""
    known: dict[str, JudgedIncumbent] = {}
    for raw in sorted(judged, key=_order):
        spec = raw["spec"]
        of_itself = {name: spec.get(name) for name in ("release", "base", "run", "runInputs")}
        for said in (spec.get("incumbent", {}), of_itself):
            release = str((said.get("release") or {}).get("digest", ""))
            if release in releases:
                with suppress(ValidationError):  # of a later version
                    known[release] = JudgedIncumbent.model_validate(said)
    return known


def _order(raw: Object) -> tuple[str, str]:
    return raw["metadata"]["creationTimestamp"], raw["metadata"]["uid"]
