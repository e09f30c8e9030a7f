"""What the pod of an import is told: from names in specs to digests and places."""

from stagecoach.api.data import DataSet
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.run_status import InputDataset, Inputs
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.inputs import BaseInput, ImportInputs, ImportMethod, LabelsInput
from stagecoach.contract.jobs import DataSource, ImportJob, ImportSource, Owner
from stagecoach.contract.reports import ArtifactReport
from stagecoach.kinds import contracts
from stagecoach.kinds.finetunerun.blocked import changed
from stagecoach.policies.attempts import AttemptOutcome

ADVICE = {
    AttemptOutcome.OUT_OF_MEMORY: "The same work would need the same memory: raise resources.memory, in a new run.",
    AttemptOutcome.DEADLINE_EXCEEDED: "Raise maxDuration, in a new run.",
}


def import_inputs(
    run: FineTuneRun, project: TransformerProject, inputs: Inputs, labels: LabelsInput | None
) -> ImportInputs:
    """Return everything that decides the result, from the fixed digests. Raises Blocked when the project changed."""
    prompt = contracts.prompt(project.spec, inputs.prompt.name, inputs.prompt.version)
    if prompt is None:
        raise changed(f"prompt {inputs.prompt.name!r}")
    labelled, stated = _labelled(project), run.spec.method.labels
    known = None if inputs.trained_on is None else tuple(sorted(item.digest for item in inputs.trained_on))
    return ImportInputs(
        revision=inputs.revision,
        task=project.spec.problem.task.value,
        architecture=contracts.architecture(project.spec),
        labels=labels,
        base=BaseInput(model=inputs.base, tokenizer=inputs.tokenizer),
        prompt=prompt,
        tokenization=contracts.tokenization(project.spec),
        method=ImportMethod(source=inputs.source or "", trained_on=known, labels=tuple(stated) if stated else None),
        label_columns=contracts.columns(labelled, project.spec.problem.task) if labelled else None,
    )


def import_job(
    run: FineTuneRun,
    project: TransformerProject,
    inputs: Inputs,
    labels: LabelsInput | None,
    attempt: int,
    threads: int,
) -> ImportJob:
    """Return what the trainer is told. Raises Blocked when the project no longer gives the inputs that were fixed."""
    decided = import_inputs(run, project, inputs, labels)
    if decided.digest != inputs.digest:
        raise changed("its task, architecture, labels, columns or tokenization")
    candidate = next((item for item in project.spec.candidates if item.name == inputs.candidate), None)
    if candidate is None:
        raise changed(f"candidate {inputs.candidate!r}")
    given, task, labelled = run.spec.method, project.spec.problem.task, _labelled(project)
    return ImportJob(
        subject=contracts.subject(run),
        project=project.metadata.name,
        owner=Owner(name=project.spec.owner.name, contact=project.spec.owner.contact),
        attempt=attempt,
        force=run.spec.force,
        inputs=decided,
        base=contracts.model_source(candidate, inputs.base, inputs.tokenizer, inputs.base_revision),
        source=ImportSource(uri=given.uri or "", revision=given.revision),
        trained_on=tuple(_source(project, item) for item in inputs.trained_on or ()),
        labels_from=contracts.data_source(labelled, task, inputs.labels, inputs.labels_revision) if labelled else None,
        image=inputs.image,
        threads=threads,
    )


def _labelled(project: TransformerProject) -> DataSet | None:
    """Return the data set that the labels are taken from, if any."""
    given = project.spec.problem.labels
    return _dataset(project, given.from_dataset) if given and given.from_dataset else None


def _dataset(project: TransformerProject, name: str) -> DataSet:
    found = next((item for item in project.spec.data.sets if item.name == name), None)
    if found is None:
        raise changed(f"data set {name!r}")
    return found


def _source(project: TransformerProject, known: InputDataset) -> DataSource:
    dataset = _dataset(project, known.name)
    return contracts.data_source(dataset, project.spec.problem.task, known.digest, known.revision)


def sources(job: ImportJob) -> tuple[str, ...]:
    """Return the URIs that the pod reads."""
    labels = (job.labels_from.uri,) if job.labels_from else ()
    return (job.base.uri, job.source.uri, *labels)


def how(found: ArtifactReport) -> str:
    """Return how a run came to its artifact, in one word."""
    if found.adopted:
        return "Adopted"
    return "Imported" if found.method else "Trained"
