"""What the cluster refuses of what was wanted of it, such as by a quota: told of what it is a part of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from stagecoach.api.deployment_status import Candidate, Served
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.plan import Object


@dataclass(frozen=True)
class Refused:
    """The first of what is refused of each."""

    candidate: Complaint | None = None  # of what is its alone; and of all that it needs, before its engine is there
    rest: Complaint | None = None  # of what serves, and of what all share

    @classmethod
    def of(
        cls,
        wanted: Iterable[Object],
        refusals: Mapping[tuple[str, str], str],
        serving: Served | None,
        candidate: Candidate | None,
    ) -> Self:
        """Return it of what is wanted now: what was refused before and is not wanted any more is no matter."""
        places = [(each["kind"], each["metadata"]["name"]) for each in wanted]
        test = candidate.load_test if candidate else None
        own = (_parts(candidate) - _parts(serving)) | ({("Job", test.job)} if test else set())
        mine = [refusals[place] for place in places if place in refusals and place in own]
        others = [refusals[place] for place in places if place in refusals and place not in own]
        begins = candidate is not None and ("Deployment", candidate.engine) in places
        return cls(_first([*mine, *(others if begins else [])]), _first(others))


def _parts(served: Served | None) -> set[tuple[str, str]]:
    if served is None:
        return set()
    return {
        ("ConfigMap", served.admitted),
        *((kind, served.engine) for kind in ("ConfigMap", "Deployment", "Service")),
    }


def _first(words: list[str]) -> Complaint | None:
    return Complaint("Refused", words[0]) if words else None
