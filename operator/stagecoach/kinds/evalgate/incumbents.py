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

    def beside(self, release: str, storage: str) -> JudgedIncumbent | None:
        """Return what a release in this storage is compared with, if anything.

        Raises Unjudged when nobody knows what that is, or it is in another storage.
        """
        reference = self.before if release == self.serving else self.serving
        if reference is None:
            return None
        found = self.known.get(reference)
        if found is None:
            message = (
                f"it has to be compared with the release {short(reference)}, which no Evaluation of the project names"
                " any more. Create a run with the same inputs as the one that made that release, which is judged then;"
                " or, if a base itself is served, bring the prompt, files and labels of then back in the project until"
                " it is judged; or let somebody who may override the gate."
            )
            raise Unjudged("IncumbentUnknown", message)
        if found.storage == storage:
            return found
        if release == self.serving:
            return None  # it serves, and what it took the place of stayed behind
        message = (
            f"the release {short(reference)}, with which it has to be compared, is in another storage. Take the"
            " criteria against Incumbent out of the gate until something else is served, or set storage.uri of the"
            f" project back, and try another release: here it is {storage}, and there {found.storage}."
        )
        raise Unjudged("IncumbentElsewhere", message)


NOBODY = Incumbents()
# What an Evaluation says of what it judges by the same words as of what that is compared with.
_TOLD = ("release", "base", "run", "runInputs", "storage")


def compares(gate: EvalGate) -> bool:
    """Whether a gate asks for more than what a release is by itself, or beside its base."""
    return any(each.against is Against.INCUMBENT for each in gate.spec.criteria)


def _known(releases: set[str | None], judged: Iterable[Object]) -> dict[str, JudgedIncumbent]:
    """Return what Evaluations of releases, or beside them, say of these: the newest, where they name several runs."""
    # Of a project's many Evaluations few are about these, and no more of them are read than it takes.
    named = ((raw, said) for raw in judged for said in (raw["spec"], raw["spec"].get("incumbent", {})))
    about = [(raw, said) for raw, said in named if _release(said) in releases]
    known: dict[str, JudgedIncumbent] = {}
    for _, said in sorted(about, key=_order, reverse=True):
        if _release(said) not in known:
            with suppress(ValidationError):  # of a later version
                told = {name: said.get(name) for name in _TOLD}
                known[_release(said)] = JudgedIncumbent.model_validate(told)
    return known


def _release(said: Object) -> str:
    return str(said.get("release", {}).get("digest", ""))


def _order(about: tuple[Object, Object]) -> tuple[str, str]:
    metadata = about[0]["metadata"]
    return metadata["creationTimestamp"], metadata["uid"]
