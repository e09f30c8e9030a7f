"""What comes of an approval: looked at for some seconds after it was made."""

import time
from dataclasses import dataclass

from stagecoach_plugin import evaluations
from stagecoach_plugin.connection import Connection
from stagecoach_plugin.kinds import APPROVAL, EVALUATION
from stagecoach_plugin.problems import Missing, Object

PAUSE = 0.5


@dataclass(frozen=True)
class Found:
    """What was seen last."""

    approval: Object
    evaluation: Object | None

    @property
    def reason(self) -> str:
        """What the operator made of the approval, in one word; nothing: it has not looked yet."""
        return str(evaluations.condition(self.approval).get("reason") or "")

    @property
    def counts(self) -> bool:
        """Whether the decision is taken into account."""
        return evaluations.condition(self.approval).get("status") == "True"

    @property
    def weighed(self) -> bool:
        """Whether the operator is about to take it into account."""
        return evaluations.condition(self.approval, "Reconciling").get("status") == "True"

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be expected at once."""
        if not self.reason or self.weighed:
            return False
        return not self.counts or self.evaluation is None or not _decides(self.evaluation, self.approval)


def _decides(evaluation: Object, approval: Object) -> bool:
    """Whether the verdict has to follow: it is there in a moment."""
    if evaluations.verdict(evaluation):
        return False
    needed = int(evaluations.asked_review(evaluation).get("approvals", 1))
    return approval["spec"]["decision"] == "Reject" or len(evaluations.approvals(evaluation)) >= needed


def follow(connection: Connection, name: str, about: str | None, seconds: float) -> Found:
    """Return what came of an approval until it is settled, or the time is over. `about`: the Evaluation, if it is."""
    end = time.monotonic() + seconds
    while True:
        found = _look(connection, name, about)
        if found.settled or time.monotonic() >= end:
            return found
        time.sleep(PAUSE)


def _look(connection: Connection, name: str, about: str | None) -> Found:
    approval = connection.get(APPROVAL, name)
    if about is None:
        return Found(approval, None)
    try:
        return Found(approval, connection.get(EVALUATION, about))
    except Missing:
        return Found(approval, None)
