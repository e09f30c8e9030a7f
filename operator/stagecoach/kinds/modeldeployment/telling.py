"""What is asked of the gateways of a deployment, and what they have said: which routes they have.

A gateway that starts anew reads the ConfigMap, and is ready when it has been told that these routes are the newest, or
when nobody told it for a while: so one that is not ready is told again at once, and all of them now and then.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self

from pydantic import ValidationError

from stagecoach.api.deployment_status import RoutesStatus
from stagecoach.build.gateway import ADMIN_PORT
from stagecoach.contract import openapi
from stagecoach.contract.gateway_routes import (
    ROUTES_FILE,
    Acknowledgement,
    BadRoutes,
    Routes,
    SignedRoutes,
    sign,
    verified,
)
from stagecoach.kinds.modeldeployment.routes import contradicts, identity
from stagecoach.kinds.plan import Call, Object
from stagecoach.kinds.view import Answer

# By the pod's uid, method and path.
Answers = Mapping[tuple[str, str, str], Answer]

ROUTES, COUNTS = "/routes", "/counts"
# What has not been acknowledged is told again so soon.
RETRY = timedelta(seconds=2)
# A gateway that restarted unseen hears of it so soon.
REPEAT = timedelta(seconds=60)
COUNT = timedelta(seconds=10)
# A gateway that is silent for so long holds nothing up: its own readiness needs current routes.
PATIENCE = timedelta(seconds=20)
# A status that was put back knows so many revisions less. What is further ahead was never told: whoever claims it does
# not decide how revisions go on.
MOST_AHEAD = 1_000_000


class Gateway(Protocol):
    """A pod of the gateway."""

    @property
    def name(self) -> str:
        """Of the pod."""

    @property
    def uid(self) -> str:
        """Of the pod."""

    @property
    def address(self) -> str:
        """Empty: it has none yet."""

    @property
    def ready(self) -> bool:
        """Whether clients reach it."""


@dataclass(frozen=True)
class Heard:
    """What gateways have said of the routes that they were told."""

    ready: int  # gateways that clients reach
    acknowledged: int  # those of them that have these routes
    known: int  # the highest revision that a gateway has with something else in it; 0: none has
    refusals: Sequence[str]  # of each gateway that said no, or that clients reach and nobody else, with what to do
    refusing: int = 0  # gateways that clients reach, and that go on with other routes: they are waited for
    unheard: int = 0  # gateways that clients reach, and that this process has not asked yet

    @property
    def everywhere(self) -> bool:
        """Whether all that clients reach have these routes, and at least one does."""
        return 0 < self.ready == self.acknowledged

    def settled(self, since: datetime, now: datetime) -> bool:
        """Whether nobody has to be waited for any more, of routes that are told since then."""
        silent = now - since >= PATIENCE and not self.refusing
        return self.everywhere or (silent and bool(self.acknowledged or not self.ready))


@dataclass(frozen=True)
class Told:
    """Routes as gateways are told them."""

    signed: SignedRoutes
    body: bytes
    contract: bytes  # what clients may rely on by these, as gateways answer it
    acknowledgement: Acknowledgement  # what a gateway says that has them

    @classmethod
    def of(cls, routes: Routes, key: bytes, *, keep: bool = False) -> Self:
        """Sign routes. `keep`: gateways have the place where samples lie, and so take feedback if they keep any."""
        signed = sign(routes, key)
        contract = openapi.text(routes, feedback=keep and routes.sampling is not None)
        mine = Acknowledgement(deployment=routes.deployment, revision=routes.revision, digest=routes.digest)
        return cls(signed, signed.line().encode(), contract, mine)

    def by(self, gateway: Gateway, answers: Answers) -> Answer | None:
        """Return what a gateway has said to these very routes."""
        answer = answers.get((gateway.uid, "PUT", ROUTES))
        return answer if answer is not None and answer.asked == self.body else None

    def acknowledged(self, put: Answer | None) -> bool:
        """Whether a gateway that said this has them."""
        return put is not None and put.status == 200 and _acknowledgement(put) == self.acknowledgement


def last(config_map: Object | None, answers: Answers, known: RoutesStatus | None, key: bytes) -> Routes | None:
    """Return what gateways were told last: as it is written for those that begin, or as one of them was told it.

    It is what the status says; or, until a gateway is known to have that, what was told before it. What is signed and
    older than that may have stayed where nobody could write, or was put back: it is not in force again by that.
    """
    if known is None:
        return None
    written = (config_map or {}).get("data", {}).get(ROUTES_FILE, "")
    asked = {answer.asked for (_, method, path), answer in answers.items() if (method, path) == ("PUT", ROUTES)}
    before: list[Routes] = []
    for text in (written, *asked):
        with suppress(BadRoutes):
            found = verified(text, key)
            if identity(found) == known.digest:
                return found
            before.append(found)
    return None if known.acknowledged else max(before, key=lambda routes: routes.revision, default=None)


def heard(gateways: Iterable[Gateway], told: Told, answers: Answers) -> Heard:
    """Return what these gateways have said of the routes."""
    ready, acknowledged, known, refusing, unheard, refusals = 0, 0, 0, 0, 0, []
    for gateway in gateways:
        put = told.by(gateway, answers)
        has_them = told.acknowledged(put)
        ready += gateway.ready
        acknowledged += gateway.ready and has_them
        if has_them:
            continue
        unheard += gateway.ready and (gateway.uid, "PUT", ROUTES) not in answers
        refusing += bool(gateway.ready and put is not None and put.status)
        other = _other(gateway, put, answers)
        if other is not None and other.revision > told.acknowledgement.revision + MOST_AHEAD:
            refusals.append(f"Gateway pod {gateway.name} {_boasts(other)}")
        elif other is not None and contradicts(other, told.acknowledgement):
            known = max(known, other.revision)
        elif put is not None and put.status != 409 and (gateway.ready or put.status):
            refusals.append(f"Gateway pod {gateway.name} {_refusal(put)}")
    return Heard(ready, acknowledged, known, refusals, refusing, unheard)


def calls(
    gateways: Iterable[Gateway], told: Told, token: str, answers: Answers, now: datetime, *, counting: bool
) -> tuple[Call, ...]:
    """Return what has to be asked now. `counting`: while there is a candidate, with a weight or before it has one."""
    asked: list[Call] = []
    for gateway in gateways:
        if not gateway.address:
            continue
        put = told.by(gateway, answers)
        if _is_newer(put) and _other(gateway, put, answers) is None:
            asked.append(Call(gateway.uid, gateway.address, ADMIN_PORT, "GET", ROUTES, token))
        elif _due(put, REPEAT if gateway.ready and told.acknowledged(put) else RETRY, now):
            asked.append(Call(gateway.uid, gateway.address, ADMIN_PORT, "PUT", ROUTES, token, told.body))
        if counting and _due(answers.get((gateway.uid, "GET", COUNTS)), COUNT, now):
            asked.append(Call(gateway.uid, gateway.address, ADMIN_PORT, "GET", COUNTS, token))
    return tuple(asked)


def _other(gateway: Gateway, put: Answer | None, answers: Answers) -> Acknowledgement | None:
    """Return what a gateway has that refused these routes as not newer, once it was asked."""
    if put is None or not _is_newer(put):
        return None
    said = answers.get((gateway.uid, "GET", ROUTES))
    return _acknowledgement(said) if said is not None and said.status == 200 and said.at >= put.at else None


def _is_newer(put: Answer | None) -> bool:
    return put is not None and put.status == 409


def _acknowledgement(answer: Answer) -> Acknowledgement | None:
    try:
        return Acknowledgement.model_validate_json(answer.body)
    except ValidationError:
        return None


def _boasts(other: Acknowledgement) -> str:
    return f"says that it has routes of revision {other.revision}, which nobody has told it: delete the pod."


def _refusal(put: Answer) -> str:
    """Return why a gateway has not taken the routes, with what to do."""
    words = put.body.decode(errors="replace")[:300].strip().rstrip(".")
    if put.status == 0:
        return f"cannot be asked ({words}): see that the operator reaches port {ADMIN_PORT} of it."
    if put.status == 401:
        return "takes the operator for somebody else: delete the pod, so that it reads the Secret with its keys anew."
    return f"does not take the routes (status {put.status}): {words}. See its log."


def _due(answer: Answer | None, pause: timedelta, now: datetime) -> bool:
    """Whether to ask again: the pause is over, or the clock went back."""
    return answer is None or not timedelta() <= now - answer.at < pause
