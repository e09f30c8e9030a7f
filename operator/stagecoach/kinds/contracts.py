"""From specs to what Jobs are told."""

from stagecoach.api.candidates import Candidate
from stagecoach.api.common import CustomObject
from stagecoach.api.data import Chunk, Columns, DataSet, Split
from stagecoach.api.problem import Task
from stagecoach.api.transformerproject import TransformerProjectSpec
from stagecoach.contract import inputs, jobs
from stagecoach.contract.jobs import DataSource, HubPart, Labels, ModelSource, Subject
from stagecoach.contract.tracking import Tracking


def subject(owner: CustomObject) -> Subject:
    """Return whom a Job works for."""
    return Subject(
        kind=type(owner).__name__,
        namespace=owner.metadata.namespace,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
    )


def data_source(dataset: DataSet, task: Task, digest: str | None, commit: str | None = None) -> DataSource:
    """Return a data set with the digest that its content must have, and the commit at which a hub's has it."""
    return DataSource(
        name=dataset.name,
        uri=dataset.uri,
        revision=commit or (dataset.hub.revision if dataset.hub else None),
        hub=HubPart(config=dataset.hub.config, split=dataset.hub.split) if dataset.hub and dataset.hub.split else None,
        split=jobs.Split(dataset.split.value),
        columns=columns(dataset, task),
        digest=digest,
    )


def columns(dataset: DataSet, task: Task) -> inputs.AnyColumns:
    """Return which columns hold what, with the defaults of the task."""
    given = dataset.columns
    if dataset.split is Split.BENCHMARK:
        return inputs.TaskDocuments()
    if task is Task.CLASSIFICATION:
        return inputs.Columns(text=given.text or "text", label=given.label or "label")
    if task is Task.TOKEN_CLASSIFICATION:
        return _tagged(given)
    if task is Task.EMBEDDING:
        return inputs.MatchColumns(
            query=given.query or "query", positive=given.positive or "positive", negative=given.negative
        )
    if given.messages:
        return inputs.MessagesColumns(messages=given.messages)
    if given.prompt or given.completion:
        return inputs.CompletionColumns(prompt=given.prompt or "prompt", completion=given.completion or "completion")
    return inputs.PairColumns(input=given.input or "input", target=given.target or "target")


def _tagged(given: Columns) -> inputs.AnyColumns:
    if given.text or given.spans:
        return inputs.SpanColumns(text=given.text or "text", spans=given.spans or "spans")
    return inputs.WordColumns(tokens=given.tokens or "tokens", tags=given.tags or "tags")


def model_source(
    candidate: Candidate, model: str | None = None, tokenizer: str | None = None, commit: str | None = None
) -> ModelSource:
    """Return a base model with the digests that it must have, and the commit at which it has them."""
    return ModelSource(
        name=candidate.name,
        uri=candidate.model.uri,
        revision=commit or candidate.model.revision,
        license=candidate.license,
        model=model,
        tokenizer=tokenizer,
    )


def labels(spec: TransformerProjectSpec) -> Labels | None:
    """Return where the labels come from; None for a task that has none."""
    given = spec.problem.labels
    if given is None:
        return None
    return Labels(values=tuple(given.values) if given.values else None, from_dataset=given.from_dataset)


def family(spec: TransformerProjectSpec) -> inputs.Family:
    """Return the transformer family of the project's models."""
    return inputs.Family(spec.problem.architecture.value)


def architecture(spec: TransformerProjectSpec) -> inputs.Architecture | None:
    """Return the family as documents tell it: they are older than the choice, and say nothing of a decoder."""
    found = family(spec)
    return None if found is inputs.Family.DECODER else found


def tokenization(spec: TransformerProjectSpec) -> inputs.Tokenization:
    """Return how long an input may be, and a target where there is one."""
    given = spec.tokenization
    writes = spec.problem.task not in (Task.CLASSIFICATION, Task.TOKEN_CLASSIFICATION, Task.EMBEDDING)
    return inputs.Tokenization(
        max_length=given.max_length,
        max_target_length=(given.max_target_length or given.max_length) if writes else None,
        overflow=inputs.Overflow(given.overflow.value),
        chunk=_chunk(given.chunk, spec.problem.task) if given.chunk else None,
    )


def _chunk(given: Chunk, task: Task) -> inputs.Chunk:
    """Return how chunks are cut, with the default of the task."""
    combine = inputs.Combine(given.combine.value) if given.combine else inputs.Combine.MEAN
    return inputs.Chunk(stride=given.stride, combine=combine if task is Task.CLASSIFICATION else None)


def prompt(spec: TransformerProjectSpec, name: str, version: int) -> inputs.Prompt | None:
    """Return a version of a prompt, or None when the project has it no more."""
    for candidate in spec.prompts:
        if (candidate.name, candidate.version) == (name, version):
            return inputs.Prompt(
                system=candidate.system,
                template=candidate.template,
                passage_template=candidate.passage_template,
            )
    return None


def selected_name(spec: TransformerProjectSpec) -> str:
    """Return the name of the candidate in force."""
    return spec.selected or spec.candidates[0].name


def tracking(spec: TransformerProjectSpec) -> Tracking | None:
    """Return where trainings are told, if anywhere."""
    return Tracking(mlflow=spec.tracking.mlflow.uri) if spec.tracking else None
