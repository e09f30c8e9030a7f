"""Why nothing is begun for a run or a gate: its project, or what it asks for, does not allow it."""

from dataclasses import dataclass

from stagecoach.api.common import ConditionStatus
from stagecoach.api.evalgate import EvalGate
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.modeldeployment import ModelDeployment
from stagecoach.api.transformerproject import TransformerProject


@dataclass(frozen=True)
class Blocked(Exception):
    """Why it cannot begin. `waits`: it may pass without a change of the object."""

    reason: str
    message: str
    waits: bool = True


def ready_project(
    asking: FineTuneRun | EvalGate | ModelDeployment,
    project: TransformerProject | None,
    then: str = "the run starts then",
) -> TransformerProject:
    """Return the project of a run, or of a gate, when it is Ready. Raises Blocked."""
    if project is None:
        raise Blocked(
            "ProjectMissing",
            f"spec.project: there is no TransformerProject {asking.spec.project!r} in namespace"
            f" {asking.metadata.namespace!r}. Create it: {then}.",
        )
    ready = next((item for item in project.status.conditions if item.type == "Ready"), None)
    resolution = project.status.resolution
    asked = resolution is None or resolution.requested_at == project.requested_at
    current = ready is not None and ready.observed_generation == project.metadata.generation and asked
    if ready is None or not current or ready.status is not ConditionStatus.TRUE:
        why = f"{ready.reason}: {ready.message}" if ready and current else "it has not been looked at yet."
        raise Blocked("ProjectNotReady", f"Waits for TransformerProject {project.metadata.name!r} to be Ready; {why}")
    return project


def changed(what: str) -> Blocked:
    """Return why a run ends whose project changed after its inputs were fixed."""
    return Blocked(
        "ProjectChanged",
        f"The project changed after this run's inputs were fixed: {what} is not what it was. Create another run for"
        " what the project says now.",
        waits=False,
    )
