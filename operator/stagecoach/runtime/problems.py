"""What stands in the way of an object for reasons of the operator or the API server, shown in its `Ready` condition.

The pure part cannot know that a right is missing or a name is taken. The condition is laid over what it wants to write,
so that the two do not overwrite each other in turn for ever. When the problem is over, the pure part says again what is
true: nothing of what the condition said before is kept here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stagecoach.contract.times import timestamp
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.runtime.errors import ApiError, Rejected

MESSAGE_LENGTH = 1024
# Kubernetes checks what it asks of a spec when that is written: what is left is mostly an admission policy's.
CORRECT = "Correct what it names: in a project's spec.pods, in this object's spec, or in another run."
WORDS_STAY = 60.0


@dataclass(frozen=True)
class Problem:
    """Why an object is not Ready, whatever its status says."""

    reason: str
    message: str


def refused(error: Exception) -> Problem:
    """Return the problem of an object for which something was refused that somebody has to mend."""
    reason = (error.reason if isinstance(error, ApiError) else "") or type(error).__name__
    remedy = f". {CORRECT}" if isinstance(error, Rejected) else ""
    return Problem(reason, f"{str(error)[: MESSAGE_LENGTH - len(remedy)]}{remedy}")


class Problems:
    """The problem of each object that had one when it was last tried: it saves writes, and decides nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all: dict[Key, tuple[float, Problem]] = {}

    def shown(self, obj: Object) -> Problem | None:
        """Return what stands in the way of this object, if its status says so: another leader may have got on since."""
        _, problem = self._all.get(key_of(obj), (0.0, None))
        return problem if problem is not None and _says(obj, problem) else None

    def known(self, key: Key, problem: Problem) -> bool:
        """Whether this is the problem that the object had before."""
        return self._all.get(key, (0.0, None))[1] == problem

    def note(self, obj: Object, problem: Problem) -> Problem:
        """Remember a problem and return the one to show.

        The words of one reason change at most once a minute: a quota's message counts what others use, and a write for
        every change would itself be the next event.
        """
        key = key_of(obj)
        since, known = self._all.get(key, (0.0, None))
        if known is not None and known.reason == problem.reason and self._clock() - since < WORDS_STAY:
            return known
        self._all[key] = (self._clock(), problem)
        return problem

    def clear(self, key: Key) -> None:
        """Forget an object's problem."""
        self._all.pop(key, None)


def overlay(obj: Object, status: Object, problem: Problem, now: datetime) -> Object:
    """Return the status with the problem as its Ready condition; all else stays."""
    conditions: dict[str, Object] = {each["type"]: each for each in status.get("conditions") or ()}
    conditions["Ready"] = _ready(obj, problem, now)  # in its place when there is one
    return status | {"conditions": list(conditions.values())}


def _ready(obj: Object, problem: Problem, now: datetime) -> Object:
    observed = _ready_of(obj.get("status") or {}) or {}
    since = observed.get("lastTransitionTime") if observed.get("status") == "False" else None
    condition: dict[str, Any] = {
        "type": "Ready",
        "status": "False",
        "reason": problem.reason,
        "message": problem.message[:MESSAGE_LENGTH],
        "lastTransitionTime": since or timestamp(now),
    }
    generation = obj["metadata"].get("generation")
    return condition if generation is None else condition | {"observedGeneration": generation}


def _says(obj: Object, problem: Problem) -> bool:
    ready = _ready_of(obj.get("status") or {}) or {}
    said = ready.get("reason"), ready.get("message")
    return said == (problem.reason, problem.message[:MESSAGE_LENGTH])


def _ready_of(status: Object) -> Object | None:
    return next((each for each in status.get("conditions") or () if each["type"] == "Ready"), None)
