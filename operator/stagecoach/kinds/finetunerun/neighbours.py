"""What a run has to do with other objects: which it names, and which it wakes."""

from stagecoach.kinds.evalgate.neighbours import gates
from stagecoach.kinds.evalgate.words import artifact_keys
from stagecoach.kinds.finetunerun.observe import project_key
from stagecoach.kinds.finetunerun.twins import inputs_key, to_wake
from stagecoach.kinds.modeldeployment.neighbours import deployments
from stagecoach.kinds.plan import Key, Object
from stagecoach.kinds.view import View


def references(raw: Object) -> tuple[Key, ...]:
    """Return the run's project, its inputs once they are fixed, and what it has made of them."""
    inputs = inputs_key(raw)
    return (project_key(raw), *((inputs,) if inputs else ()), *artifact_keys(raw))


def wakes(_key: Key, view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return for whom it counts that a run has changed: its project, gates, deployments, runs of the same inputs."""
    return (*_judges(view, before, after), *_serves(view, before, after), *to_wake(view, before, after))


def _judges(view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return the project, if that is news to it, and the gates, when there is an artifact more, or one less."""
    states = [raw for raw in (before, after) if raw is not None]
    if _artifact(before) == _artifact(after):
        return ()
    projects = (key for key in map(project_key, states) if _asks_for_artifacts(view.get(key)))
    return (*projects, *(key for raw in states for key in gates(view, raw)))


def _serves(view: View, before: Object | None, after: Object | None) -> tuple[Key, ...]:
    """Return the deployments that may serve what a run makes, if they would read it otherwise than before."""
    if _as_deployments_read_it(before) == _as_deployments_read_it(after):
        return ()
    states = [raw for raw in (before, after) if raw is not None]
    return tuple(key for raw in states for key in deployments(view, raw))


def _as_deployments_read_it(raw: Object | None) -> tuple[object, ...] | None:
    if raw is None:
        return None
    metadata, status = raw["metadata"], raw.get("status", {})
    servable = next((each for each in status.get("conditions", ()) if each["type"] == "Servable"), None)
    leaves = "deletionTimestamp" in metadata
    return metadata["uid"], leaves, metadata.get("labels"), status.get("phase"), _artifact(raw), servable


def _artifact(raw: Object | None) -> str:
    return str((raw or {}).get("status", {}).get("artifact", {}).get("digest", ""))


def _asks_for_artifacts(project: Object | None) -> bool:
    if project is None:
        return False
    # The first record in a storage tells the project that lookups are worth their while from now on.
    has_records = project.get("status", {}).get("storage", {}).get("records", False)
    return not has_records or "retention" in project["spec"]["storage"]
