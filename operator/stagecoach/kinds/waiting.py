"""Which objects may wait for something that is not their own."""

from stagecoach.api.run_status import Phase
from stagecoach.kinds.plan import Object


def waits(raw: Object) -> bool:
    """Whether a change of another object may change what this one does next: it is neither done nor busy.

    A gate is never either.
    """
    status = raw.get("status", {})
    return "completionTime" not in status and status.get("phase") != Phase.RUNNING.value
