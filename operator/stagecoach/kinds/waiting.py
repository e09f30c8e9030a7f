"""Which runs may wait for something that is not their own."""

from stagecoach.api.run_status import Phase
from stagecoach.kinds.plan import Object


def waits(run: Object) -> bool:
    """Whether a change of another object may change what a run does next: it is neither done nor busy."""
    status = run.get("status", {})
    return "completionTime" not in status and status.get("phase") != Phase.RUNNING.value
