"""From what an Evaluation's spec names by digest to what its Job is told, the same at each attempt."""

from stagecoach.api.candidates import PromptRef
from stagecoach.api.data import DataSet
from stagecoach.api.evaluation import Evaluation, EvaluationSpec, JudgedBase
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract import evaluations
from stagecoach.contract.evaluations import EvaluateJob, EvaluationInputs
from stagecoach.contract.inputs import BaseInput, LabelsInput
from stagecoach.contract.jobs import DataSource, Owner
from stagecoach.contract.releases import Asked, Engine, Precision, Release
from stagecoach.kinds import contracts


class Changed(Exception):
    """The project is not what it was; the text says what of it."""


def release(spec: EvaluationSpec) -> Release:
    """Return the release that is judged."""
    judged = spec.release
    engine = Engine(precision=Precision(judged.precision.value))
    return Release(asked=judged.asked, artifact=judged.artifact, engine=engine)


def asked_of_base(project: TransformerProject, base: JudgedBase, labels: str | None, prompt: PromptRef) -> Asked:
    """Return how a base is asked as it is: with the run's labels, and a prompt of the project. Raises Changed."""
    words = contracts.prompt(project.spec, prompt.name, prompt.version)
    if words is None:
        raise Changed(f"prompt {prompt.name!r}, version {prompt.version}, is gone")
    given = project.spec.problem.labels
    listed = tuple(given.values) if given and given.values else None
    return Asked(
        task=project.spec.problem.task.value,
        architecture=contracts.architecture(project.spec),
        labels=LabelsInput(values=listed, from_data=labels) if given else None,
        base=BaseInput(model=base.model, tokenizer=base.tokenizer),
        prompt=words,
        tokenization=contracts.tokenization(project.spec),
    )


def inputs(spec: EvaluationSpec, project: TransformerProject) -> EvaluationInputs:
    """Return everything that decides the verdict. Raises Changed."""
    known = spec.trained_on
    return EvaluationInputs(
        revision=spec.revision,
        release=spec.release.digest,
        baseline=spec.baseline.digest if spec.baseline else None,
        suites=tuple(
            evaluations.Suite(
                name=suite.name,
                type=evaluations.SuiteType(suite.type.value),
                data=suite.digest,
                columns=contracts.columns(_dataset(project, suite.dataset), project.spec.problem.task),
            )
            for suite in spec.suites
        ),
        criteria=tuple(
            evaluations.Criterion(
                name=given.name,
                suite=given.suite,
                metric=given.metric,
                label=given.label,
                min=given.min,
                max=given.max,
                against=evaluations.Reference(given.against.value) if given.against else None,
                allowed_drop=given.allowed_drop.absolute if given.allowed_drop else None,
                min_gain=given.min_gain.absolute if given.min_gain else None,
                confidence=given.confidence,
                advisory=bool(given.advisory),
            )
            for given in spec.criteria
        ),
        min_scored=spec.min_scored,
        trained_on=None if known is None else tuple(sorted({item.digest for item in known})),
    )


def job(evaluation: Evaluation, project: TransformerProject, threads: int) -> EvaluateJob:
    """Return what the evaluator is told. Raises Changed when the project no longer gives what was decided."""
    spec = evaluation.spec
    decided = inputs(spec, project)
    if decided.digest != spec.key or release(spec).digest != spec.release.digest:
        raise Changed("the columns of its data sets, or its task, are not what they were")
    candidate = next((item for item in project.spec.candidates if item.name == spec.base.candidate), None)
    if candidate is None:
        raise Changed(f"candidate {spec.base.candidate!r} is gone")
    return EvaluateJob(
        subject=contracts.subject(evaluation),
        project=project.metadata.name,
        owner=Owner(name=project.spec.owner.name, contact=project.spec.owner.contact),
        gate=spec.gate,
        run=spec.run,
        inputs=decided,
        release=release(spec),
        run_inputs=spec.run_inputs,
        baseline=_baseline(spec, project),
        base=contracts.model_source(candidate, spec.base.model, spec.base.tokenizer, spec.base.revision),
        datasets=tuple(_source(project, item.dataset, item.digest, item.revision) for item in spec.suites),
        trained_on=tuple(_source(project, item.name, item.digest, item.revision) for item in spec.trained_on or ()),
        image=spec.image,
        threads=threads,
    )


def _baseline(spec: EvaluationSpec, project: TransformerProject) -> Asked | None:
    wanted = spec.baseline
    if wanted is None:
        return None
    asked = asked_of_base(project, spec.base, wanted.labels, wanted.prompt)
    if asked.digest != wanted.asked:
        raise Changed("its task, architecture, labels or tokenization are not what they were")
    return asked


def _source(project: TransformerProject, name: str, digest: str, revision: str | None) -> DataSource:
    return contracts.data_source(_dataset(project, name), project.spec.problem.task, digest, revision)


def _dataset(project: TransformerProject, name: str) -> DataSet:
    found = next((item for item in project.spec.data.sets if item.name == name), None)
    if found is None:
        raise Changed(f"data set {name!r} is gone")
    return found
