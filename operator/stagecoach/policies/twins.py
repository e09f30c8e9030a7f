"""Runs of the same inputs: one of them trains, the others wait for it and adopt what it made."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

# A Job that was decided is made, and seen, within this time; after it the decision no longer holds others up.
DECISION_HOLDS = timedelta(seconds=10)


@dataclass(frozen=True)
class Twin:
    """Another run of the same inputs in the same storage."""

    name: str
    reason: str  # of its condition Ready, empty before it has one
    order: tuple[str, str]  # the elder comes first
    ended: bool
    succeeded: bool
    suspended: bool  # it holds nobody up: when it goes on, it waits for its turn as if it were new
    decided: str  # when the training was decided that is under way, empty if there is none
    has_job: bool  # that of a training

    @property
    def at_work(self) -> bool:
        """Whether something may still come of it by itself."""
        return not self.ended and not self.suspended


def ahead(order: tuple[str, str], twins: Iterable[Twin]) -> Twin | None:
    """Return the twin that a run which has no Job yet waits for: an elder one, or one that has its Job already."""
    waiting = sorted((twin for twin in twins if twin.at_work), key=lambda twin: twin.order)
    return next((twin for twin in waiting if twin.order < order or twin.has_job), None)


def undecided(twins: Iterable[Twin], now: datetime) -> bool:
    """Whether a twin may have its Job in a moment: when it decided, it may not have known of the others."""
    return any(
        now - datetime.fromisoformat(twin.decided) < DECISION_HOLDS
        for twin in twins
        if twin.decided and twin.at_work and not twin.has_job
    )
