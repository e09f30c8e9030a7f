"""Why a run's inputs cannot be fixed, or are no longer what they were."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Blocked(Exception):
    """Why a run's inputs cannot be fixed. `waits`: it may pass without a change of this run."""

    reason: str
    message: str
    waits: bool = True


def changed(what: str) -> Blocked:
    """Return why a run ends whose project changed after its inputs were fixed."""
    return Blocked(
        "ProjectChanged",
        f"The project changed after this run's inputs were fixed: {what} is not what it was. Create another run for"
        " what the project says now.",
        waits=False,
    )
