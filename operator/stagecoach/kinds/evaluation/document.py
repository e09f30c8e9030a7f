"""From what an Evaluation's spec names by digest to what its Job is told, the same at each attempt."""

import math
from contextlib import suppress

from stagecoach.api.candidates import InferenceEngine, InferencePrecision, PromptRef
from stagecoach.api.data import DataSet
from stagecoach.api.evalgate import Criterion
from stagecoach.api.evaluation import Evaluation, EvaluationSpec, JudgedBase, JudgedRelease, JudgedSuite
from stagecoach.api.review import Review
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract import evaluations, reviews
from stagecoach.contract.benchmarks import LM_EVAL
from stagecoach.contract.digests import digest_of_document
from stagecoach.contract.evaluations import EvaluateJob, EvaluationInputs, Untuned, in_order
from stagecoach.contract.inputs import AnyColumns, BaseInput, DataInput, LabelsInput, TaskDocuments
from stagecoach.contract.jobs import DataSource, ModelSource, Owner
from stagecoach.contract.releases import Asked, Engine, EngineType, Precision, Release
from stagecoach.kinds import contracts
from stagecoach.policies import verdicts


class Changed(Exception):
    """The project is not what it was; the text says what of it."""


def release(judged: JudgedRelease) -> Release:
    """Return a release as documents name it."""
    return Release(asked=judged.asked, artifact=judged.artifact, engine=engine(judged.engine, judged.precision))


def engine(kind: InferenceEngine | None, precision: InferencePrecision | None) -> Engine:
    """Return what computes the answers, with what is said nothing about."""
    return Engine(
        type=EngineType((kind or InferenceEngine.TRANSFORMERS).value),
        precision=Precision((precision or InferencePrecision.AUTO).value),
    )


def how_asked(project: TransformerProject, base: BaseInput, labels: str | None, prompt: PromptRef) -> Asked:
    """Return how a base is asked, or what a run made of it: with the run's labels, and this prompt. Raises Changed."""
    words = contracts.prompt(project.spec, prompt.name, prompt.version)
    if words is None:
        raise Changed(f"prompt {prompt.name!r}, version {prompt.version}, is gone")
    given = project.spec.problem.labels
    listed = tuple(given.values) if given and given.values else None
    return Asked(
        task=project.spec.problem.task.value,
        architecture=contracts.architecture(project.spec),
        labels=LabelsInput(values=listed, from_data=labels) if given else None,
        base=base,
        prompt=words,
        tokenization=contracts.tokenization(project.spec),
    )


def input_of(base: JudgedBase) -> BaseInput:
    """Return the base as documents name it."""
    return BaseInput(model=base.model, tokenizer=base.tokenizer)


def inputs(spec: EvaluationSpec, project: TransformerProject) -> EvaluationInputs:
    """Return everything that decides the verdict. Raises Changed."""
    # Of a base itself it is known: none of the project's data.
    given = spec.trained_on if spec.release.artifact is not None else []
    known = [DataInput(digest=item.digest, columns=_columns(project, item.name)) for item in given or ()]
    return EvaluationInputs(
        revision=spec.revision,
        release=spec.release.digest,
        baseline=spec.baseline.digest if spec.baseline else None,
        incumbent=spec.incumbent.release.digest if spec.incumbent else None,
        suites=tuple(
            evaluations.Suite(
                name=suite.name,
                type=evaluations.SuiteType(suite.type.value),
                data=suite.digest,
                columns=_columns_of(suite, project),
            )
            for suite in spec.suites
        ),
        criteria=tuple(map(_criterion, spec.criteria)),
        min_scored=spec.min_scored,
        trained_on=None if given is None else in_order(known),
        review=_review(spec.review) if spec.review else None,
    )


def _criterion(each: Criterion) -> evaluations.Criterion:
    """Return a criterion as documents name it."""
    return evaluations.Criterion(
        name=each.name,
        suite=each.suite,
        metric=each.metric,
        label=each.label,
        min=each.min,
        against=evaluations.Reference(each.against.value) if each.against else None,
        when_absent=evaluations.WhenAbsent(each.when_absent.value) if each.when_absent else None,
        allowed_drop=each.allowed_drop.absolute if each.allowed_drop else None,
        min_gain=each.min_gain.absolute if each.min_gain else None,
        confidence=each.confidence,
        advisory=bool(each.advisory),
    )


def job(evaluation: Evaluation, project: TransformerProject, threads: int) -> EvaluateJob:
    """Return what the evaluator is told. Raises Changed when the project no longer gives what was decided."""
    spec = evaluation.spec
    decided = inputs(spec, project)
    if decided.digest != spec.key or release(spec.release).digest != spec.release.digest:
        raise Changed("the columns of its data sets, or its task, are not what they were")
    return EvaluateJob(
        subject=contracts.subject(evaluation),
        project=project.metadata.name,
        owner=Owner(name=project.spec.owner.name, contact=project.spec.owner.contact),
        gate=spec.gate,
        run=spec.run,
        inputs=decided,
        release=release(spec.release),
        run_inputs=spec.run_inputs,
        untuned=_untuned(spec, project),
        baseline=_baseline(spec, project),
        incumbent=_incumbent(spec, project),
        base=base(spec, project),
        datasets=tuple(
            _source(project, item.dataset, item.digest, item.revision).model_copy(
                update={"columns": _columns_of(item, project)}
            )
            for item in spec.suites
        ),
        trained_on=tuple(_source(project, item.name, item.digest, item.revision) for item in spec.trained_on or ()),
        image=spec.image,
        engine_image=spec.engine_image,
        threads=threads,
    )


def base(spec: EvaluationSpec, project: TransformerProject) -> ModelSource:
    """Return where the base model is. Raises Changed."""
    return _place(spec.base, project)


def _place(judged: JudgedBase, project: TransformerProject) -> ModelSource:
    return model_source(project, judged.candidate, judged.model, judged.tokenizer, judged.revision)


def model_source(project: TransformerProject, name: str, model: str, tokenizer: str, commit: str | None) -> ModelSource:
    """Return where a candidate of the project is, and what it has to be. Raises Changed."""
    candidate = next((item for item in project.spec.candidates if item.name == name), None)
    if candidate is None:
        raise Changed(f"candidate {name!r} is gone")
    return contracts.model_source(candidate, model, tokenizer, commit)


def asked(spec: EvaluationSpec) -> verdicts.Asked:
    """Return what a report is held against."""
    served = spec.incumbent.release.digest if spec.incumbent else None
    return verdicts.Asked(
        criteria=[
            verdicts.Criterion(
                name=item.name,
                suite=item.suite,
                advisory=bool(item.advisory),
                threshold=_threshold(item),
                by_interval=bool(item.against or item.confidence),
                of_label=item.label is not None,
                absent=_criterion(item).absent(served),
            )
            for item in spec.criteria
        ],
        suites=[suite.name for suite in spec.suites],
        min_scored=spec.min_scored,
        knows_training_data=bool(spec.trained_on) or spec.release.artifact is None,
        reviewed=spec.review is not None,
    )


def _review(given: Review) -> reviews.Review:
    """Return what is asked of people, in one order: it decides nothing."""
    named = (reviews.Reviewer(user=each.user, group=each.group) for each in given.reviewers)
    return reviews.Review(
        suite=given.suite,
        reviewers=tuple(sorted(named, key=lambda each: (each.user or "", each.group or ""))),
        approvals=given.approvals,
        valid_for=given.valid_for,
        rubric=tuple(sorted(each.name for each in given.rubric or ())),
        min_score=given.min_score,
    )


def _threshold(criterion: Criterion) -> float:
    """Return what the value, or the difference, has to reach."""
    if criterion.allowed_drop is not None:
        return -criterion.allowed_drop.absolute
    if criterion.min_gain is not None:
        return criterion.min_gain.absolute
    return math.inf if criterion.min is None else criterion.min


def asked_itself(project: TransformerProject, base: BaseInput, prompt: PromptRef) -> Asked:
    """Return how a base itself is asked. Raises Changed, and TooManyLabels.

    Its labels are listed, wherever they are from: there is no run that says of which column.
    """
    found = how_asked(project, base, None, prompt)
    if found.labels is None or found.labels.values is not None:
        return found
    return found.model_copy(update={"labels": LabelsInput(values=resolved_labels(project))})


class TooManyLabels(Exception):
    """Not all labels are known here; the text says what to do."""


def resolved_labels(project: TransformerProject) -> tuple[str, ...]:
    """Return the labels that the project takes from a data set, in their order. Raises Changed, and TooManyLabels."""
    told = project.status.labels
    if told is None:
        raise Changed("its labels are not known")
    if digest_of_document(told.first) != told.digest:
        given = project.spec.problem.labels
        raise TooManyLabels(
            f"The labels are taken from data set {given.from_dataset if given else None!r}, and status.labels of"
            f" TransformerProject {project.metadata.name!r} has room for {len(told.first)} of its {told.count}:"
            " what is chosen among is not known without the rest. Write all into spec.problem.labels.values"
        )
    return tuple(told.first)


def _untuned(spec: EvaluationSpec, project: TransformerProject) -> Untuned | None:
    """Return what is told of a base that is judged itself. Raises Changed."""
    wanted, prompt = spec.release, spec.release.prompt
    if wanted.artifact is not None or prompt is None:
        return None
    found = next((each for each in project.status.candidates if each.name == spec.base.candidate), None)
    if found is None or (found.model, found.tokenizer) != (spec.base.model, spec.base.tokenizer):
        raise Changed(f"candidate {spec.base.candidate!r} is gone, or its files are not what they were")
    try:
        how = asked_itself(project, input_of(spec.base), prompt)
    except TooManyLabels as error:
        raise Changed("its labels are not what they were") from error
    if how.digest != wanted.asked:
        raise Changed("its task, architecture, labels or tokenization are not what they were")
    return Untuned(asked=how, architecture=found.architecture, context=found.context)


def _baseline(spec: EvaluationSpec, project: TransformerProject) -> Asked | None:
    wanted = spec.baseline
    if wanted is None:
        return None
    asked = how_asked(project, input_of(spec.base), wanted.labels, wanted.prompt)
    if asked.digest != wanted.asked:
        raise Changed("its task, architecture, labels or tokenization are not what they were")
    return asked


def _incumbent(spec: EvaluationSpec, project: TransformerProject) -> evaluations.Incumbent | None:
    """Return what is served. Where it cannot be asked any more, its answers may still be stored."""
    served = spec.incumbent
    if served is None:
        return None
    found = release(served.release)
    if found.digest != served.release.digest:
        raise Changed("the release that is served is not what its Evaluation says")
    place = None
    if found.engine.type is release(spec.release).engine.type:
        with suppress(Changed):
            place = _place(served.base, project)
    return evaluations.Incumbent(release=found, run=served.run, run_inputs=served.run_inputs, base=place)


def _source(project: TransformerProject, name: str, digest: str, revision: str | None) -> DataSource:
    return contracts.data_source(_dataset(project, name), project.spec.problem.task, digest, revision)


def _columns_of(suite: JudgedSuite, project: TransformerProject) -> AnyColumns:
    """Return how the rows of a suite are read: as the project says, or whole, for a task."""
    found = _columns(project, suite.dataset)
    if (suite.task is not None) != isinstance(found, TaskDocuments):
        raise Changed(f"the split of data set {suite.dataset!r} is not what it was")
    return found if suite.task is None else TaskDocuments(task=suite.task, lm_eval=LM_EVAL)


def _columns(project: TransformerProject, name: str) -> AnyColumns:
    return contracts.columns(_dataset(project, name), project.spec.problem.task)


def _dataset(project: TransformerProject, name: str) -> DataSet:
    found = next((item for item in project.spec.data.sets if item.name == name), None)
    if found is None:
        raise Changed(f"data set {name!r} is gone")
    return found
