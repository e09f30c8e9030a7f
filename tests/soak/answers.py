"""What clients of the deployment were answered, and which fault explains it where that is an error."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.soak.evidence import CONTROL_PLANE, Answer, Hit

Object = dict[str, Any]

GATEWAY_KILLED, GATEWAY_DELETED = "kill_gateway", "delete_gateway"
ENGINE_KILLED, ENGINE_DELETED = "kill_engine", "delete_engine"
# Gateways answer these while the only engine is away; a restarted one the last, to whom comes before it is ready.
NO_ENGINE = {"engine_unavailable", "engine_error", "engine_timeout"}
NO_ROUTES = "nothing_served"
# A node hears so late of a pod that has ended, or begun. Who could not ask meanwhile has done so ever more rarely: it is
# told as late as that took, but for a minute at most.
HEARD, AGAIN = timedelta(seconds=10), timedelta(seconds=60)


def read(told: Iterable[Object]) -> list[Answer]:
    """Return what the program of clients has told, in the order in which was asked."""
    return sorted(map(_answer, told), key=lambda answer: answer.began)


def _answer(told: Object) -> Answer:
    began, ended = (datetime.fromtimestamp(told[each], UTC) for each in ("began", "ended"))
    release = told.get("release") or told.get("failed") or ""
    return Answer(began, ended, told["status"], release, _code(told.get("error", "")))


def _code(error: str) -> str:
    try:
        return str(json.loads(error)["error"]["code"])
    except (ValueError, TypeError, KeyError):
        return error


def failed(answers: Iterable[Answer]) -> list[Answer]:
    """Return those that are errors."""
    return [each for each in answers if each.status != 200]


def cause(answer: Answer, hits: Sequence[Hit]) -> str:
    """Return the fault that explains an error: one that went on at that time, and has such errors. Empty: none does."""
    meanwhile = (hit for hit in hits if hit.began <= answer.ended and answer.began <= _over(hit, hits))
    return next((hit.fault for hit in meanwhile if _explains(hit, answer, hits)), "")


def _over(hit: Hit, hits: Sequence[Hit]) -> datetime:
    """Return when everybody has heard that what was taken out is back.

    A silence holds that up where it begins before, and together with those in a row before it: who asks ever more
    rarely goes on so. One that begins after it does not: who was told in between knows.
    """
    over, since = hit.ended + HEARD, None
    for silence in sorted(_silences(hits), key=lambda each: each.began):
        if silence.began <= over and hit.began <= _told(silence):
            since = since or silence.began
            over = max(over, _told(silence, since))
    return over


def _silences(hits: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.victim == CONTROL_PLANE]


def _told(silence: Hit, since: datetime | None = None) -> datetime:
    """Return when everybody has heard what nobody could be told meanwhile, or since the first silence in a row."""
    return silence.ended + max(HEARD, min(silence.ended - (since or silence.began), AGAIN))


def _explains(hit: Hit, answer: Answer, hits: Sequence[Hit]) -> bool:
    if hit.fault in (ENGINE_KILLED, ENGINE_DELETED):
        return answer.error in NO_ENGINE
    if hit.fault == GATEWAY_KILLED:
        return answer.status == 0 or answer.error == NO_ROUTES
    # A gateway that is asked to go does so when everybody knows it: unless nobody could be told.
    untold = (each for each in _silences(hits) if each.began <= hit.ended and hit.began <= _told(each))
    return hit.fault == GATEWAY_DELETED and answer.status == 0 and any(untold)
