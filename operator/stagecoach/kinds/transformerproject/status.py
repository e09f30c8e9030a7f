"""How a project is told: every status that a TransformerProject can have is made here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stagecoach.api.resolved import (
    FindingStatus,
    Phase,
    Resolution,
    ResolvedCandidate,
    ResolvedDataset,
    ResolvedLabels,
    StorageStatus,
    TransformerProjectStatus,
)
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract import reports
from stagecoach.contract.times import timestamp
from stagecoach.kinds.conditions import Fact, dated, in_progress, of, ready, stalled
from stagecoach.kinds.plan import Object


def resolving(project: TransformerProject, reason: str, message: str, now: datetime, **changes: Any) -> Object:
    """The Job that hashes and checks is on its way, or about to be repeated."""
    facts = (*in_progress(reason, message), Fact("Resolved", False, reason, message))
    return _status(project, Phase.RESOLVING, facts, now, **changes)


def incomplete(project: TransformerProject, reason: str, message: str, now: datetime, **changes: Any) -> Object:
    """Something is wrong that only a person can mend."""
    facts = (*stalled(reason, message), Fact("Resolved", False, reason, message))
    return _status(project, Phase.INCOMPLETE, facts, now, **changes)


def resolved(
    project: TransformerProject, findings: list[FindingStatus], records: bool, now: datetime, **changes: Any
) -> Object:
    """Everything has a digest; findings that nobody accepted keep runs from starting."""
    examples = sum(item.examples for item in changes.get("datasets", project.status.datasets))
    fact = Fact("Resolved", True, "Resolved", "Data sets, candidates and labels, if any, are known by digest.")
    changes |= {"findings": findings, "storage": StorageStatus(records=records)}
    if open_findings := [item for item in findings if not item.accepted]:
        reason, message = open_findings[0].code, " ".join(f"{item.code}: {item.message}" for item in open_findings)
        return _status(project, Phase.INCOMPLETE, (*stalled(reason, message), fact), now, **changes)
    message = f"{len(project.spec.data.sets)} data sets with {examples} examples are resolved; runs can start."
    return _status(project, Phase.READY, (*ready("Resolved", message), fact), now, **changes)


def said(project: TransformerProject) -> tuple[str, str]:
    """Return why the resolution that ended did not succeed, to say it again about the spec as it is now.

    Not from Ready, which may tell of something that stood in the way since.
    """
    resolution, told = project.status.resolution, of(project.status.conditions, "Resolved")
    if told is not None:
        return told.reason, told.message
    return (resolution.outcome or "", resolution.message or "") if resolution else ("", "")


def facts_of(found: reports.Resolution) -> dict[str, Any]:
    """Return the parts of the status that a resolution decides."""
    return {
        "datasets": [ResolvedDataset.model_validate(item.document()) for item in found.datasets],
        "labels": ResolvedLabels.model_validate(found.labels.document()) if found.labels else None,
        "candidates": [ResolvedCandidate.model_validate(item.document()) for item in found.candidates],
    }


def closed(resolution: Resolution, outcome: str, message: str, failures: int, now: datetime) -> Resolution:
    """Return the resolution with its outcome."""
    return resolution.model_copy(
        update={
            "completion_time": timestamp(now),
            "outcome": outcome,
            "message": message[:2048] or None,
            "failures": failures,
        }
    )


def _status(project: TransformerProject, phase: Phase, facts: Sequence[Fact], now: datetime, **changes: Any) -> Object:
    generation = project.metadata.generation
    update = {
        "observed_generation": generation,
        "phase": phase,
        "conditions": dated(facts, project.status.conditions, generation, now),
    }
    status: TransformerProjectStatus = project.status.model_copy(update=update | changes)
    return status.document()
