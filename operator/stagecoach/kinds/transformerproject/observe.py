"""What a TransformerProject's reconcile looks at."""

from dataclasses import dataclass
from datetime import datetime

from stagecoach.api.transformerproject import TransformerProject
from stagecoach.kinds.children import Child, child, ending, unfinished
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View


@dataclass(frozen=True)
class Observed:
    """A project and all that its next step depends on."""

    project: TransformerProject
    has_succeeded_run: bool  # whose record is in the storage that the spec names
    unfinished: tuple[Object, ...]  # Jobs, of whatever attempt
    current: Child  # the current resolution's
    ending: bool  # a pod whose trainer has ended goes on, because of what was injected beside it


def observe(view: View, raw: Object, now: datetime) -> Observed:
    """Collect what is in memory. Raises ValidationError for a project that its model refuses."""
    project = TransformerProject.model_validate(raw)
    uid, resolution = project.metadata.uid, project.status.resolution
    return Observed(
        project=project,
        has_succeeded_run=_has_succeeded_run(view, project),
        unfinished=unfinished(view, uid, now),
        current=child(view, uid, resolution.job) if resolution else Child(),
        ending=ending(view, uid),
    )


def _has_succeeded_run(view: View, project: TransformerProject) -> bool:
    """Look through the project's runs, unless it is known already that the storage holds records."""
    if project.status.storage and project.status.storage.records:
        return True
    key = Key("TransformerProject", project.metadata.namespace, project.metadata.name)
    return any(_has_record_in(project.spec.storage.uri, run.get("status", {})) for run in view.referrers(key))


def _has_record_in(storage: str, run: Object) -> bool:
    return run.get("phase") == "Succeeded" and run.get("inputs", {}).get("storage") == storage
