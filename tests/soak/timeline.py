"""What was said of a deployment and of verdicts, and when: by the log of the API server."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.soak.audit import Write
from tests.soak.evidence import DEPLOYMENT, VERDICT, Answer, Evidence, key_of

Object = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A status of a deployment, in a write that was answered, or may have changed something nevertheless."""

    write: Write
    status: Object

    @property
    def parts(self) -> Iterator[Object]:
        """What is served, and what is to be."""
        return (self.status[part] for part in ("serving", "candidate") if self.status.get(part))

    @property
    def model(self) -> Object:
        """What was wanted then, if that is known."""
        result: Object = self.write.response.get("spec", {}).get("model", {})
        return result


@dataclass(frozen=True)
class Turn:
    """Which releases may answer, and when."""

    releases: frozenset[str]
    since: datetime
    until: datetime | None  # when every gateway had newer routes

    def allows(self, answer: Answer) -> bool:
        """Whether an answer is by one of these, and of that time."""
        in_time = self.since <= answer.ended and (self.until is None or answer.began <= self.until)
        return answer.release in self.releases and in_time


@dataclass(frozen=True)
class Passed:
    """A verdict that may have been there since then."""

    gate: str
    release: str
    since: datetime


def said_of(evidence: Evidence, deployment: Object) -> list[Said]:
    """Return the statuses of a deployment, in their order."""
    found: list[Said] = []
    for write in evidence.writes:
        if (
            write.resource == DEPLOYMENT
            and (write.namespace, write.name) == key_of(deployment)
            and "status" in write.told
        ):
            told: Object = write.told["status"]
            before = found[-1].status if found else {}
            found.append(Said(write, told if write.accepted else _merged(before, told)))
    return found


def turns(said: Sequence[Said]) -> list[Turn]:
    """Return what each status lets answer, until the first later one by which every gateway has newer routes."""
    settled = [(_revision(each), at(each.write.completed)) for each in said if each.write.accepted and _settled(each)]
    return [
        Turn(
            frozenset(_with_requests(each.status)),
            at(each.write.received),
            min((time for revision, time in settled if revision > _revision(each)), default=None),
        )
        for each in said
    ]


def switches(evidence: Evidence) -> list[int]:
    """Return how often something else was served, of each deployment."""
    return [_switches(said_of(evidence, each)) for each in evidence.deployments]


def _switches(said: Sequence[Said]) -> int:
    served = [each.status["serving"]["release"] for each in said if each.write.accepted and "serving" in each.status]
    return sum(before != after for before, after in pairwise(served))


def passed(evidence: Evidence) -> dict[tuple[str, str], Passed]:
    """Return what may have been Passed, by namespace and name of the Evaluation."""
    specs = {key_of(each): each["spec"] for each in evidence.evaluations}
    found: dict[tuple[str, str], Passed] = {}
    for write in evidence.writes:
        key = write.namespace, write.name
        if write.resource == VERDICT and write.told.get("status", {}).get("verdict") == "Passed" and key in specs:
            spec = specs[key]
            found.setdefault(key, Passed(spec["gate"], spec["release"]["digest"], at(write.received)))
    return found


def at(time: str) -> datetime:
    """Return a time of the log."""
    return datetime.fromisoformat(time)


def _merged(document: Object, patch: Object) -> Object:
    """Return a document with a merge patch in it (RFC 7386)."""
    result = {name: value for name, value in document.items() if name not in patch}
    for name, value in patch.items():
        if isinstance(value, dict):
            old = document.get(name)
            result[name] = _merged(old if isinstance(old, dict) else {}, value)
        elif value is not None:
            result[name] = value
    return result


def _revision(said: Said) -> int:
    return int(said.status.get("routes", {}).get("revision", 0))


def _settled(said: Said) -> bool:
    """Whether every gateway has the routes that it speaks of."""
    routes = said.status.get("routes", {})
    return bool(0 < routes.get("gateways", 0) == routes.get("acknowledged"))


def _with_requests(status: Object) -> Iterator[str]:
    if "serving" in status:
        yield status["serving"]["release"]
    if status.get("candidate", {}).get("weight"):
        yield status["candidate"]["release"]
