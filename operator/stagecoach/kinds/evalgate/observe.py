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
from stagecoach.kinds.evalgate import asked, words
from stagecoach.kinds.evalgate.incumbents import NOBODY, Incumbents, compares
from stagecoach.kinds.evalgate.judging import Subject
from stagecoach.kinds.evalgate.neighbours import project_key
from stagecoach.kinds.evalgate.untuned import BaseItself
from stagecoach.kinds.evalgate.words import Word
from stagecoach.kinds.plan import Key, Object, key_of
from stagecoach.kinds.view import View


@dataclass(frozen=True)
class Observed:
    """A gate and all that its next step depends on."""

    gate: EvalGate
    project: TransformerProject | None
    # What deployments ask about, and then the newest that have succeeded; of both the newest first. Each with what it
    # is compared with: once for each deployment that serves something else.
    # Bases that are asked about themselves come first: they are few, and nothing else judges them.
    candidates: tuple[tuple[Subject, Incumbents], ...]
    unreadable: tuple[str, ...]  # those of them that a later version of the operator wrote
    words: Mapping[str, Sequence[Word]]  # of the artifacts of these: what anybody says they were trained on
    evaluations: Mapping[str, Object]  # by name, all that name this gate


def observe(view: View, raw: Object) -> Observed:
    """Collect what is in memory. Raises ValidationError for a gate that its model refuses."""
    gate = EvalGate.model_validate(raw)
    key = Key("EvalGate", gate.metadata.namespace, gate.metadata.name)
    related = list(view.referrers(project_key(raw)))
    asking = _asking(gate, related, asked.deployments(view, key))
    chosen = _chosen(gate, related, asking)
    read = {run["metadata"]["name"]: _read(view, run) for run, _ in chosen}
    runs = ((read[run["metadata"]["name"]], incumbents) for run, incumbents in chosen)
    project = project_of(view, raw)
    return Observed(
        gate=gate,
        project=project,
        candidates=(
            *_bases(gate, project, asking),
            *((run, beside) for run, beside in runs if run is not None),
        ),
        unreadable=tuple(name for name, run in read.items() if run is None),
        words=_words(view, raw, {run["status"]["artifact"]["digest"] for run, _ in chosen}),
        evaluations={item["metadata"]["name"]: item for item in view.referrers(key) if item["kind"] == "Evaluation"},
    )


@dataclass(frozen=True)
class _Asking:
    """A deployment: which runs it asks about, since when others are no older than what it serves, and what that is."""

    names: frozenset[str]
    bases: frozenset[str]  # the candidates of the project that it asks about themselves
    named: str  # the one of them that its spec names
    since: str
    incumbents: Incumbents

    def about(self, run: Object) -> bool:
        """Whether it may come to serve a run, or serves it."""
        metadata = run["metadata"]
        return metadata["name"] in self.names or metadata["creationTimestamp"] >= self.since


def _asking(gate: EvalGate, related: Sequence[Object], deployments: Iterable[Object]) -> list[_Asking]:
    """Return the deployments of the project that name the gate, and what each asks."""
    candidates = [raw for raw in related if _is_candidate(raw)]
    judged = [raw for raw in related if raw["kind"] == "Evaluation"]
    others = [raw for raw in related if raw["kind"] == asked.KIND]
    return [
        _Asking(
            frozenset(asked.runs(item, candidates, judged, others)),
            frozenset(asked.bases(item, judged, others)),
            item["spec"].get("model", {}).get("candidate", ""),
            asked.serving(item).get("runCreated", ""),
            Incumbents.of(item, judged) if compares(gate) else NOBODY,
        )
        for item in deployments
        if item["spec"].get("project") == gate.spec.project and "deletionTimestamp" not in item["metadata"]
    ]


def _bases(
    gate: EvalGate, project: TransformerProject | None, asking: Sequence[_Asking]
) -> list[tuple[BaseItself, Incumbents]]:
    """Return the bases that are to be judged themselves: those alone that deployments ask about.

    Of one that is only served, and that the project has no more, there is nothing new to say.
    """
    known = {each.name for each in project.status.candidates} if project else set()
    pairs = {(name, each.incumbents): None for each in asking for name in sorted(each.bases & (known | {each.named}))}
    return [(BaseItself(name, gate.spec.project), incumbents) for name, incumbents in pairs]


def _chosen(gate: EvalGate, related: Sequence[Object], asking: Sequence[_Asking]) -> list[tuple[Object, Incumbents]]:
    """Return the runs to judge: first those that deployments ask about, for requests may wait for their verdict."""
    candidates = {raw["metadata"]["name"]: raw for raw in related if _is_candidate(raw)}
    names = {name for each in asking for name in each.names}
    first = sorted((candidates[name] for name in names & candidates.keys()), key=asked.order, reverse=True)
    newest = heapq.nlargest(gate.spec.newest, candidates.values(), key=asked.order)
    chosen = [*first, *(raw for raw in newest if raw["metadata"]["name"] not in names)]
    return [(raw, incumbents) for raw in chosen for incumbents in _beside(raw, asking, alone=not compares(gate))]


def _beside(run: Object, asking: Sequence[_Asking], *, alone: bool) -> Iterable[Incumbents]:
    """Return what a run is compared with: what those serve that may come to serve it, or nothing, if nobody asks."""
    if alone or not asking:
        return (NOBODY,)
    return dict.fromkeys(each.incumbents for each in asking if each.about(run))


def said(view: View, raw: Object, runs: Iterable[FineTuneRun]) -> Mapping[str, Sequence[Word]]:
    """Return what anybody says of the data that the artifacts of runs of a gate's project were trained on."""
    return _words(view, raw, {run.status.artifact.digest for run in runs if run.status.artifact})


def _words(view: View, raw: Object, artifacts: Iterable[str]) -> Mapping[str, Sequence[Word]]:
    return words.of(view, project_key(raw), artifacts, partial(_read, view))


def incumbents(view: View, gate: EvalGate, raw: Object, deployment: Object) -> Incumbents:
    """Return what a gate compares with for a deployment, if it does."""
    if not compares(gate):
        return NOBODY
    return Incumbents.of(
        deployment, (each for each in view.referrers(project_key(raw)) if each["kind"] == "Evaluation")
    )


def _is_candidate(raw: Object) -> bool:
    """Whether this is a run that asks to be judged. It is asked about all that refers to the project."""
    if raw["kind"] != "FineTuneRun" or "deletionTimestamp" in raw["metadata"]:
        return False
    status = raw.get("status", {})
    succeeded = status.get("phase") == Phase.SUCCEEDED.value and "artifact" in status and "inputs" in status
    return succeeded and raw["spec"].get("purpose") != Purpose.EXPERIMENT.value


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
