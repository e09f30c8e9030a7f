"""Fixing a run's inputs: from names in specs to digests, or the reason why not yet."""

from stagecoach.api.data import JUDGING, DataSet, Split
from stagecoach.api.finetunerun import ClassWeights, FineTuneRun, Sharding
from stagecoach.api.methods import DataRef, MethodType
from stagecoach.api.problem import Task
from stagecoach.api.run_status import InputDataset, Inputs
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import services
from stagecoach.build.jobs import Demand, job_name, threads
from stagecoach.contract.inputs import (
    TRAINER_REVISION,
    BaseInput,
    DataInput,
    Decided,
    Hyperparameters,
    RunInputs,
)
from stagecoach.contract.jobs import Checkpoints, DataSource, Group, ImportJob, Owner, TrainJob
from stagecoach.contract.releases import Asked
from stagecoach.kinds import contracts
from stagecoach.kinds.blocked import Blocked, changed
from stagecoach.kinds.conditions import Fact
from stagecoach.kinds.finetunerun import imports, labels, methods
from stagecoach.kinds.finetunerun.misfit import longer_than_context, misfit
from stagecoach.policies import servable as policies

DEFAULT_EPOCHS = 3
ALONE_IN_ITS_POD = "127.0.0.1"


def freeze(run: FineTuneRun, project: TransformerProject, image: str) -> Inputs:
    """Fix everything that decides the run's result. Raises Blocked."""
    candidate = run.spec.base.candidate or contracts.selected_name(project.spec)
    base = next((item for item in project.status.candidates if item.name == candidate), None)
    if base is None:
        names = ", ".join(item.name for item in project.spec.candidates)
        raise Blocked(
            "UnknownCandidate",
            f"spec.base.candidate: project {project.metadata.name!r} has no candidate {candidate!r}; it has {names}."
            " Create the run with one of them, or add it to the project.",
        )
    if unsuited := misfit(run, project):
        raise Blocked(*unsuited, waits=False)
    if longer := longer_than_context(run, project, base):
        raise Blocked("LongerThanContext", longer)
    data, given, labelled = run.spec.data, run.spec.method, labels.resolved(project)
    inputs = Inputs(
        digest="sha256:" + "0" * 64,
        revision=TRAINER_REVISION,
        labels=labelled.digest if labelled else None,
        labels_revision=labelled.revision if labelled else None,
        candidate=candidate,
        base=base.model,
        tokenizer=base.tokenizer,
        base_revision=base.revision,
        train=_datasets("data.train", data.train if data else [], project, Split.TRAIN),
        validation=_datasets("data.validation", data.validation if data else [], project, Split.VALIDATION),
        source=given.digest,
        trained_on=_datasets("method.trainedOn", given.trained_on, project, Split.TRAIN) if given.trained_on else None,
        prompt=project.spec.inference.prompt,
        storage=project.spec.storage.uri,
        image=image,
    )
    result = decided(run, project, inputs)
    return inputs.model_copy(update={"digest": result.digest, "asked": Asked.of(result).digest})


def _datasets(field: str, given: list[DataRef], project: TransformerProject, split: Split) -> list[InputDataset]:
    specs = {item.name: item for item in project.spec.data.sets}
    resolved = {item.name: item for item in project.status.datasets}
    found = []
    for reference in given:
        _check_split(f"spec.{field}[{reference.name}]", specs.get(reference.name), split, specs)
        known = resolved[reference.name]
        found.append(InputDataset(name=reference.name, digest=known.digest, revision=known.revision))
    return found


def _check_split(field: str, dataset: DataSet | None, split: Split, specs: dict[str, DataSet]) -> None:
    if dataset is None:
        raise Blocked(
            "UnknownDataset",
            f"{field}: the project has no such data set; it has {', '.join(sorted(specs))}. Create the run with one of"
            " them, or add it to the project.",
        )
    if dataset.split in JUDGING:
        raise Blocked(
            "TestSplitUsed",
            f"{field}: this data set has split {dataset.split}. What a model is judged by must not be seen in training:"
            f" create the run with a data set of split {split}.",
            waits=False,
        )
    if dataset.split is not split:
        raise Blocked(
            "WrongSplit",
            f"{field}: this data set has split {dataset.split}, not {split}. Create the run with another data set.",
            waits=False,
        )


def servable(run: FineTuneRun, project: TransformerProject, inputs: Inputs, found: str | None = None) -> Fact | None:
    """Return whether an engine can serve what this run makes. It stops nothing: a person decides.

    Of an import nothing is known before it has `found` by which method that was made.
    """
    base = next((item for item in project.status.candidates if item.name == inputs.candidate), None)
    method = found if run.spec.method.type is MethodType.IMPORT else run.spec.method.type.value
    if base is None or method is None:
        return None
    problem = project.spec.problem
    verdict = policies.servable(problem.task, contracts.family(project.spec), base.architecture, method)
    return Fact("Servable", verdict.holds, verdict.reason, verdict.message)


def decided(run: FineTuneRun, project: TransformerProject, inputs: Inputs) -> Decided:
    """Return everything that decides the result of a training or an import. Raises Blocked as run_inputs does."""
    if run.spec.method.type is MethodType.IMPORT:
        return imports.import_inputs(run, project, inputs)
    return run_inputs(run, project, inputs)


def work_job(run: FineTuneRun, project: TransformerProject, inputs: Inputs, attempt: int) -> TrainJob | ImportJob:
    """Return what the pod is told that makes the artifact. Raises Blocked when the project changed."""
    if run.spec.method.type is not MethodType.IMPORT:
        return train_job(run, project, inputs, attempt)
    return imports.import_job(run, project, inputs, attempt, threads(run.spec.resources.cpu))


def run_inputs(run: FineTuneRun, project: TransformerProject, inputs: Inputs) -> RunInputs:
    """Return everything that decides the result, from the fixed digests. Raises Blocked when the project changed."""
    specs = {item.name: item for item in project.spec.data.sets}
    task = project.spec.problem.task
    prompt = contracts.prompt(project.spec, inputs.prompt.name, inputs.prompt.version)
    missing = [item.name for item in (*inputs.train, *inputs.validation) if item.name not in specs]
    if prompt is None or missing:
        raise changed(f"data set {missing[0]!r}" if missing else f"prompt {inputs.prompt.name!r}")

    def data(datasets: list[InputDataset]) -> tuple[DataInput, ...]:
        return tuple(
            DataInput(digest=item.digest, columns=contracts.columns(specs[item.name], task)) for item in datasets
        )

    train = data(inputs.train)
    return RunInputs(
        revision=inputs.revision,
        task=task.value,
        architecture=contracts.architecture(project.spec),
        labels=labels.given(project, inputs),
        base=BaseInput(model=inputs.base, tokenizer=inputs.tokenizer),
        train=train,
        validation=data(inputs.validation),
        prompt=prompt,
        tokenization=contracts.tokenization(project.spec),
        method=methods.method(run.spec.method),
        hyperparameters=_hyperparameters(run),
        best=run.spec.checkpoints.best.value if run.spec.checkpoints.best else None,
        label_columns=labels.columns_beside(project, inputs, train),
        devices=run.spec.resources.nodes * run.spec.resources.gpus_per_node,
        processes=processes if (processes := run.spec.resources.nodes * _per_node(run)) > 1 else None,
        # As it was before there was a choice, it is not in the document, so that the digest is what it was.
        sharding="Full" if run.spec.resources.sharding is Sharding.FULL else None,
    )


def _hyperparameters(run: FineTuneRun) -> Hyperparameters:
    given = run.spec.hyperparameters
    epochs = given.epochs if given.epochs or given.max_steps else DEFAULT_EPOCHS
    # What is as it was before there was a choice is not in the document, so that the digest is what it was.
    weights = given.class_weights.value if given.class_weights is ClassWeights.BALANCED else None
    optional = {"gradientCheckpointing": given.gradient_checkpointing or None, "classWeights": weights}
    return Hyperparameters.model_validate(given.document() | optional | {"epochs": epochs})


def train_job(run: FineTuneRun, project: TransformerProject, inputs: Inputs, attempt: int) -> TrainJob:
    """Return what the trainer is told. Raises Blocked when the project no longer gives the inputs that were fixed."""
    decided = run_inputs(run, project, inputs)
    if decided.digest != inputs.digest:
        raise changed("its task, architecture, labels, columns or tokenization")
    specs = {item.name: item for item in project.spec.data.sets}
    candidates = {item.name: item for item in project.spec.candidates}
    task = project.spec.problem.task
    if inputs.candidate not in candidates:
        raise changed(f"candidate {inputs.candidate!r}")
    return TrainJob(
        subject=contracts.subject(run),
        project=project.metadata.name,
        owner=Owner(name=project.spec.owner.name, contact=project.spec.owner.contact),
        attempt=attempt,
        force=run.spec.force,
        inputs=decided,
        base=contracts.model_source(candidates[inputs.candidate], inputs.base, inputs.tokenizer, inputs.base_revision),
        train=_sources(inputs.train, specs, task),
        validation=_sources(inputs.validation, specs, task),
        labels_from=labels.source(project, inputs) if decided.label_columns else None,
        image=inputs.image,
        checkpoints=Checkpoints(every_steps=run.spec.checkpoints.every_steps, keep=run.spec.checkpoints.keep),
        threads=max(1, threads(run.spec.resources.cpu) // _per_node(run)),
        group=_group(run, attempt),
    )


def _sources(datasets: list[InputDataset], specs: dict[str, DataSet], task: Task) -> tuple[DataSource, ...]:
    return tuple(contracts.data_source(specs[item.name], task, item.digest, item.revision) for item in datasets)


def _per_node(run: FineTuneRun) -> int:
    """Return the processes of a pod: one for each GPU, or one on the CPU."""
    return max(1, run.spec.resources.gpus_per_node)


def _group(run: FineTuneRun, attempt: int) -> Group | None:
    nodes, processes = run.spec.resources.nodes, _per_node(run)
    if nodes * processes == 1:
        return None
    address = services.address(run, job_name(run, str(attempt))) if nodes > 1 else ALONE_IN_ITS_POD
    return Group(nodes=nodes, processes=processes, address=address)


def demand(run: FineTuneRun) -> Demand:
    """Return what the training pod asks for."""
    resources = run.spec.resources
    return Demand(
        cpu=resources.cpu,
        memory=resources.memory,
        gpu_resource=resources.gpu_resource,
        gpus=resources.gpus_per_node,
    )
