"""What the cluster refuses of what was wanted of it, such as by a quota: told of what it is a part of."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from stagecoach.api.deployment_status import Candidate, Served
from stagecoach.kinds.modeldeployment.pods import Complaint
from stagecoach.kinds.plan import Object

# Without these no pod is made, or starts.
NEEDED = {"Deployment", "ConfigMap", "Secret", "Service", "NetworkPolicy"}


@dataclass(frozen=True)
class Refused:
    """The first of what is refused of each."""

    candidate: Complaint | None = None  # of what is its alone; of all that it needs, before its engine is there
    rest: Complaint | None = None  # of what serves, and of what all share
    needed: Complaint | None = None  # of that, what has to be there before pods are

    @classmethod
    def of(
        cls,
        wanted: Iterable[Object],
        refusals: Mapping[tuple[str, str], str],
        serving: Served | None,
        candidate: Candidate | None,
        engines: Collection[str],
    ) -> Self:
        """Return it of what is wanted now: what was refused before and is not wanted any more is no matter.

        `engines` are those that are there, by their names.
        """
        places = [(each["kind"], each["metadata"]["name"]) for each in wanted]
        test = candidate.load_test if candidate else None
        jobs = {("Job", test.job)} if test else set()
        own = (_parts(candidate) - _parts(serving)) | jobs
        refused = [place for place in places if place in refusals]
        mine = [refusals[place] for place in refused if place in own]
        others = [refusals[place] for place in refused if place not in own]
        if not jobs.isdisjoint(places):
            # Of what others need as well, the keys alone come before the Job, and keep it from being made.
            charged = [refusals[place] for place in refused if place not in own and place[0] == "Secret"]
        elif candidate is not None and candidate.engine not in engines and ("Deployment", candidate.engine) in places:
            charged = others
        else:
            charged = []
        needed = [refusals[place] for place in refused if place not in own and place[0] in NEEDED]
        return cls(_first([*mine, *charged]), _first(others), _first(needed))


def _parts(served: Served | None) -> set[tuple[str, str]]:
    if served is None:
        return set()
    return {
        ("ConfigMap", served.admitted),
        *((kind, served.engine) for kind in ("ConfigMap", "Deployment", "Service")),
    }


def _first(words: list[str]) -> Complaint | None:
    return Complaint("Refused", words[0]) if words else None
