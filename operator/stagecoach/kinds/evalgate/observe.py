"""What an EvalGate's reconcile looks at."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError

from stagecoach.api.evalgate import EvalGate
from stagecoach.api.finetunerun import FineTuneRun, Purpose
from stagecoach.api.run_status import Phase
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.kinds.evalgate import words
from stagecoach.kinds.evalgate.neighbours import project_key
from stagecoach.kinds.evalgate.words import Word
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View


@dataclass(frozen=True)
class Observed:
    """A gate and all that its next step depends on."""

    gate: EvalGate
    project: TransformerProject | None
    candidates: tuple[FineTuneRun, ...]  # the newest that have succeeded, the newest first
    unreadable: tuple[str, ...]  # those of them that a later version of the operator wrote
    words: Mapping[str, Sequence[Word]]  # of the artifacts of these: what anybody says they were trained on
    evaluations: Mapping[str, Object]  # by name, all that name this gate


def observe(view: View, raw: Object) -> Observed:
    """Collect what is in memory. Raises ValidationError for a gate that its model refuses."""
    gate = EvalGate.model_validate(raw)
    key = Key("EvalGate", gate.metadata.namespace, gate.metadata.name)
    related = list(view.referrers(project_key(raw)))
    newest = heapq.nlargest(gate.spec.newest, filter(_is_candidate, related), key=_order)
    read = {run["metadata"]["name"]: _read(view, run) for run in newest}
    return Observed(
        gate=gate,
        project=project_of(view, raw),
        candidates=tuple(run for run in read.values() if run is not None),
        unreadable=tuple(name for name, run in read.items() if run is None),
        words=words.of({run["status"]["artifact"]["digest"] for run in newest}, related, partial(_read, view)),
        evaluations={item["metadata"]["name"]: item for item in view.referrers(key) if item["kind"] == "Evaluation"},
    )


def said(view: View, raw: Object, runs: Iterable[FineTuneRun]) -> Mapping[str, Sequence[Word]]:
    """Return what anybody says of the data that the artifacts of runs of a gate's project were trained on."""
    related = list(view.referrers(project_key(raw)))
    artifacts = {run.status.artifact.digest for run in runs if run.status.artifact}
    return words.of(artifacts, related, partial(_read, view))


def _is_candidate(raw: Object) -> bool:
    """Whether this is a run that asks to be judged. It is asked about all that refers to the project."""
    if raw["kind"] != "FineTuneRun" or "deletionTimestamp" in raw["metadata"]:
        return False
    status = raw.get("status", {})
    succeeded = status.get("phase") == Phase.SUCCEEDED.value and "artifact" in status and "inputs" in status
    return succeeded and raw["spec"].get("purpose") != Purpose.EXPERIMENT.value


def _order(raw: Object) -> tuple[str, str]:
    metadata = raw["metadata"]
    return metadata["creationTimestamp"], metadata["uid"]


def _read(view: View, raw: Object) -> FineTuneRun | None:
    try:
        return view.read(key_of(raw), FineTuneRun.model_validate)
    except ValidationError:
        return None


def project_of(view: View, raw: Object) -> TransformerProject | None:
    """Return the project of a gate, or of a run, if there is one that can be read."""
    try:
        return view.read(project_key(raw), TransformerProject.model_validate)
    except ValidationError:
        # The project's own status says what is wrong with it.
        return None
