"""What is judged: from the gate's names to digests, and from them to the Evaluation that has the verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagecoach.api.candidates import InferenceEngine, InferencePrecision, PromptRef
from stagecoach.api.evalgate import Against, EvalGate
from stagecoach.api.evaluation import (
    MAX_TRAINED_ON,
    EvaluationSpec,
    JudgedBase,
    JudgedBaseline,
    JudgedRelease,
    JudgedSuite,
    TrainingData,
)
from stagecoach.api.finetunerun import FineTuneRun, Purpose
from stagecoach.api.gate_status import UnjudgedRun
from stagecoach.api.run_status import Inputs
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build.labels import API_VERSION, GROUP, MANAGED_BY
from stagecoach.contract.digests import short
from stagecoach.contract.evaluations import EVALUATOR_REVISION
from stagecoach.contract.releases import Engine, EngineType, Release
from stagecoach.kinds.controller import Settings
from stagecoach.kinds.evalgate import released, untuned
from stagecoach.kinds.evalgate.incumbents import Incumbents, compares
from stagecoach.kinds.evalgate.released import ANOTHER, Unjudged
from stagecoach.kinds.evalgate.untuned import BaseItself
from stagecoach.kinds.evalgate.words import Contradiction, Word, has_trained, trained_on
from stagecoach.kinds.evaluation import document
from stagecoach.kinds.plan import Object

NOWHERE = "sha256:" + "0" * 64
# What a gate judges: what a run has made, or a base itself.
Subject = FineTuneRun | BaseItself


@dataclass(frozen=True)
class Case:
    """What an Evaluation of a run has to say, or of a base itself."""

    spec: EvaluationSpec

    @property
    def of(self) -> dict[str, str | None]:
        """Whose release it is, as statuses have it."""
        return whose_release(self.spec.run, self.spec.base.candidate)

    @property
    def name(self) -> str:
        """The name of the Evaluation: the same for the same key."""
        return f"{self.spec.gate}-{short(self.spec.key)}"


def cases(
    gate: EvalGate,
    project: TransformerProject,
    candidates: Iterable[tuple[Subject, Incumbents]],
    said: Mapping[str, Sequence[Word]],
    settings: Settings,
) -> tuple[list[Case], list[UnjudgedRun]]:
    """Return what is to be judged, the newest run first and each release once beside the same, and what cannot be."""
    found: dict[tuple[str, str | None], Case] = {}
    unjudged = []
    for subject, incumbents in candidates:
        try:
            case = case_of(gate, project, subject, incumbents, said, settings)
        except Unjudged as why:
            unjudged.append(UnjudgedRun(**of(subject), reason=why.reason, message=why.message[:512]))
            continue
        beside = case.spec.incumbent.release.digest if case.spec.incumbent else None
        found.setdefault((case.spec.release.digest, beside), case)
    return list(found.values()), unjudged


def evaluation(gate: EvalGate, case: Case) -> Object:
    """Return the Evaluation as it is created. Nobody owns it: who deletes gate or run deletes no evidence."""
    whose = {name: value for name, value in case.of.items() if value}
    labels = {"gate": case.spec.gate, "release": case.spec.release.short} | whose
    return {
        "apiVersion": API_VERSION,
        "kind": "Evaluation",
        "metadata": {
            "name": case.name,
            "namespace": gate.metadata.namespace,
            "labels": MANAGED_BY | {f"{GROUP}/{name}": value for name, value in labels.items()},
        },
        "spec": case.spec.document(),
    }


def is_taken(case: Case, known: Object) -> bool:
    """Whether the Evaluation of this name is about something else: 12 digits are not the whole key."""
    spec = known["spec"]
    return (spec.get("key"), spec.get("gate")) != (case.spec.key, case.spec.gate)


def taken(case: Case) -> UnjudgedRun:
    """Return what to do about it."""
    message = f"Evaluation {case.name} is there and about something else: kubectl delete eval {case.name}."
    return UnjudgedRun(**case.of, reason="NameTaken", message=message)


def whose_release(run: str | None, base: str | None) -> dict[str, str | None]:
    """Return whose release it is, as statuses have it: a run's, or else a base itself."""
    return {"run": run} if run else {"base": base}


def of(subject: Subject) -> dict[str, str | None]:
    """Return whose release it is, before it is known which."""
    return {"base": subject.name} if isinstance(subject, BaseItself) else {"run": subject.metadata.name}


def case_of(
    gate: EvalGate,
    project: TransformerProject,
    subject: Subject,
    incumbents: Incumbents,
    said: Mapping[str, Sequence[Word]],
    settings: Settings,
) -> Case:
    """Return what the gate as it is now has to judge of a run, or of a base itself. Raises Unjudged."""
    try:
        spec = (
            _of_base(gate, project, subject, incumbents, settings)
            if isinstance(subject, BaseItself)
            else _of_run(gate, project, subject, incumbents, said, settings)
        )
        key = document.inputs(spec, project).digest
        document.base(spec, project)
    except document.Changed as changed:
        message = f"The project changed since this run: {changed}. {ANOTHER}"
        if isinstance(subject, BaseItself):
            message = untuned.unsaid(changed)
        raise Unjudged("ProjectChanged", message) from changed
    return Case(spec.model_copy(update={"key": key}))


def _of_base(
    gate: EvalGate, project: TransformerProject, base: BaseItself, incumbents: Incumbents, settings: Settings
) -> EvaluationSpec:
    if against := next((each.name for each in gate.spec.criteria if each.against is Against.BASELINE), None):
        message = f"spec.criteria[{against}].against of the gate is Baseline, and base {base.name!r} is that itself."
        raise Unjudged("IsBaseline", f"{message} Let a gate judge it that compares nothing with its base.")
    found = untuned.described(base, project)
    untuned.check_servable(found, project)
    release = _judged(found.release, prompt=found.prompt)
    incumbent = incumbents.beside(found.release.digest, found.storage) if compares(gate) else None
    return EvaluationSpec(
        release=release, base=found.base, incumbent=incumbent, storage=found.storage, **_shared(gate, project, settings)
    )


def _of_run(
    gate: EvalGate,
    project: TransformerProject,
    candidate: FineTuneRun,
    incumbents: Incumbents,
    said: Mapping[str, Sequence[Word]],
    settings: Settings,
) -> EvaluationSpec:
    _, artifact = released.made(candidate)
    asked = released.asked(candidate, project)
    words = said[artifact.digest]
    run = _who_trained(candidate, asked, project, words)
    inputs, _ = released.made(run)
    release = released.release(run, project, asked)
    if release.engine.type is EngineType.VLLM:
        released.check_servable(run, project)
    base = JudgedBase(
        candidate=inputs.candidate, model=inputs.base, tokenizer=inputs.tokenizer, revision=inputs.base_revision
    )
    return EvaluationSpec(
        run=run.metadata.name,
        run_inputs=inputs.digest,
        release=_judged(release),
        base=base,
        baseline=_baseline(gate, project, inputs, base, release.engine),
        incumbent=incumbents.beside(release.digest, inputs.storage) if compares(gate) else None,
        trained_on=_trained_on(words, run, project),
        storage=inputs.storage,
        **_shared(gate, project, settings),
    )


def _judged(release: Release, prompt: PromptRef | None = None) -> JudgedRelease:
    return JudgedRelease(
        digest=release.digest,
        short=short(release.digest),
        asked=release.asked,
        artifact=release.artifact,
        prompt=prompt,
        engine=InferenceEngine.VLLM if release.engine.type is EngineType.VLLM else None,
        precision=InferencePrecision(release.engine.precision.value),
    )


def _shared(gate: EvalGate, project: TransformerProject, settings: Settings) -> dict[str, Any]:
    """Return what is the same whatever is judged: how the gate, and the project, are now."""
    limits = {name: getattr(gate.spec, name) for name in ("resources", "max_duration", "retries", "clean_up_after")}
    served = project.spec.inference.engine is InferenceEngine.VLLM
    return limits | {
        "gate": gate.metadata.name,
        "project": project.metadata.name,
        "key": NOWHERE,
        "revision": EVALUATOR_REVISION,
        "suites": _suites(gate, project),
        "criteria": [item.model_copy(update={"outcome": None}) for item in gate.spec.criteria],
        "min_scored": gate.spec.min_scored,
        "review": gate.spec.review,
        "image": settings.evaluator_image,
        "engine_image": settings.engine(gate.spec.resources.gpus).image if served else None,
    }


def _who_trained(candidate: FineTuneRun, asked: str, project: TransformerProject, words: Sequence[Word]) -> FineTuneRun:
    """Return whose record says the most of the release: a run that trained it, of whatever age, if there is one."""
    for word in words:
        # An experiment is never judged.
        if word.run is not None and has_trained(word.run) and word.run.spec.purpose is not Purpose.EXPERIMENT:
            try:
                if released.asked(word.run, project) == asked:
                    return word.run
            except Unjudged:
                continue  # it is asked in a way that nobody knows any more
    return candidate


def _baseline(
    gate: EvalGate, project: TransformerProject, inputs: Inputs, base: JudgedBase, engine: Engine
) -> JudgedBaseline | None:
    if not any(item.against is Against.BASELINE for item in gate.spec.criteria):
        return None
    prompt = project.spec.inference.prompt
    asked = document.how_asked(project, document.input_of(base), inputs.labels, prompt).digest
    release = Release(asked=asked, artifact=None, engine=engine)
    return JudgedBaseline(digest=release.digest, asked=asked, prompt=prompt, labels=inputs.labels)


def _suites(gate: EvalGate, project: TransformerProject) -> list[JudgedSuite]:
    resolved = {item.name: item for item in project.status.datasets}
    return [
        JudgedSuite(
            name=suite.name,
            type=suite.type,
            dataset=suite.dataset,
            digest=resolved[suite.dataset].digest,
            revision=resolved[suite.dataset].revision,
            task=suite.task,
        )
        for suite in gate.spec.suites
    ]


def _trained_on(words: Sequence[Word], run: FineTuneRun, project: TransformerProject) -> list[TrainingData] | None:
    """Return the data in which no row of a suite may be. Raises Unjudged when it is no longer there to be read."""
    try:
        data = trained_on(words, run)
    except Contradiction as both:
        message = (
            f"Runs and Evaluations with this artifact name {both}. Delete those that are wrong, and create another run."
        )
        raise Unjudged("TrainingDataDiffer", message) from both
    if data is not None and len(data) > MAX_TRAINED_ON:
        raise Unjudged("TrainingDataTooMany", _too_many(data))
    resolved = {item.name: item for item in project.status.datasets}
    for item in data or ():
        now = resolved.get(item.name)
        if now is not None and now.digest != item.digest and item.revision is None:
            raise Unjudged("TrainingDataChanged", _has_changed(item))
    return data


def _too_many(data: Sequence[TrainingData]) -> str:
    names = ", ".join(item.name for item in data[:3])
    return (
        f"Runs and Evaluations with this artifact name {len(data)} data sets together ({names}, ...), and rows of"
        f" suites are looked for in {MAX_TRAINED_ON} at most. Delete those that name what it was not trained on, or"
        " create another run."
    )


def _has_changed(item: TrainingData) -> str:
    return (
        f"Data set {item.name!r} is not what the run was trained on, so nobody can tell whether rows of a suite were in"
        " it. Bring its content back, or create another run."
    )
