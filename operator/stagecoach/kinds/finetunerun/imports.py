"""What the pod of an import is told: from names in specs to digests and places."""

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.run_status import InputDataset, Inputs
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.inputs import BaseInput, ImportInputs, ImportMethod
from stagecoach.contract.jobs import DataSource, ImportJob, ImportSource, Owner
from stagecoach.contract.reports import ArtifactReport
from stagecoach.kinds import contracts
from stagecoach.kinds.blocked import changed
from stagecoach.kinds.finetunerun import labels
from stagecoach.policies.attempts import AttemptOutcome

ADVICE = {
    AttemptOutcome.OUT_OF_MEMORY: "The same work would need the same memory: raise resources.memory, in a new run.",
    AttemptOutcome.DEADLINE_EXCEEDED: "Raise maxDuration, in a new run.",
}


def import_inputs(run: FineTuneRun, project: TransformerProject, inputs: Inputs) -> ImportInputs:
    """Return everything that decides the result, from the fixed digests. Raises Blocked when the project changed."""
    prompt = contracts.prompt(project.spec, inputs.prompt.name, inputs.prompt.version)
    if prompt is None:
        raise changed(f"prompt {inputs.prompt.name!r}")
    stated = run.spec.method.labels
    known = None if inputs.trained_on is None else tuple(sorted(item.digest for item in inputs.trained_on))
    return ImportInputs(
        revision=inputs.revision,
        task=project.spec.problem.task.value,
        architecture=contracts.architecture(project.spec),
        labels=labels.given(project, inputs),
        base=BaseInput(model=inputs.base, tokenizer=inputs.tokenizer),
        prompt=prompt,
        tokenization=contracts.tokenization(project.spec),
        method=ImportMethod(source=inputs.source or "", trained_on=known, labels=tuple(stated) if stated else None),
        label_columns=labels.columns(project),
    )


def import_job(run: FineTuneRun, project: TransformerProject, inputs: Inputs, attempt: int, threads: int) -> ImportJob:
    """Return what the trainer is told. Raises Blocked when the project no longer gives the inputs that were fixed."""
    decided = import_inputs(run, project, inputs)
    if decided.digest != inputs.digest:
        raise changed("its task, architecture, labels, columns or tokenization")
    candidate = next((item for item in project.spec.candidates if item.name == inputs.candidate), None)
    if candidate is None:
        raise changed(f"candidate {inputs.candidate!r}")
    given = run.spec.method
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
        labels_from=labels.source(project, inputs),
        image=inputs.image,
        threads=threads,
    )


def _source(project: TransformerProject, known: InputDataset) -> DataSource:
    dataset = next((item for item in project.spec.data.sets if item.name == known.name), None)
    if dataset is None:
        raise changed(f"data set {known.name!r}")
    return contracts.data_source(dataset, project.spec.problem.task, known.digest, known.revision)


def how(found: ArtifactReport) -> str:
    """Return how a run came to its artifact, in one word."""
    if found.adopted:
        return "Adopted"
    return "Imported" if found.method else "Trained"
