"""Which release answers a request: exact shares, and the same release for all requests of a session."""

import hashlib
from datetime import datetime

from stagecoach.contract.gateway_routes import Routes, Target


class Shares:
    """Sends of every 100 requests without a session exactly so many to the candidate, evenly spread.

    A session's place is a number from 0 to 99.99…, the same in all gateways of a deployment: while it is below the
    candidate's weight, the candidate answers. So a weight that grows moves sessions to the candidate, and none back.
    """

    def __init__(self) -> None:
        self._owed = 0

    def choose(self, routes: Routes, session: str | None, now: datetime) -> Target | None:
        """Return who answers; None when nothing is served."""
        candidate = routes.candidate
        share = candidate.share(now) if candidate else 0
        if candidate is None or share == 0:
            return routes.stable
        if session is not None:
            chosen = place(routes.deployment, session) < share
        else:
            self._owed += share
            chosen = self._owed >= 100
            self._owed -= 100 if chosen else 0
        return candidate.target if chosen else routes.stable


def place(deployment: str, session: str) -> float:
    """Return where a session stands, from 0 to 100."""
    digest = hashlib.blake2b(session.encode(), key=deployment.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 * 100
