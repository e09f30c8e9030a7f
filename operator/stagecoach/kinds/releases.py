"""What is served, in full: what a run has made, by its status and what the project still tells; or a base itself."""

from typing import Literal, cast

from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.run_status import Artifact, Inputs
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.inputs import BaseInput
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.releases import Asked, DescribedRelease
from stagecoach.kinds.blocked import Blocked
from stagecoach.kinds.evalgate import untuned
from stagecoach.kinds.evalgate.released import ANOTHER, asked, check_engine, check_servable, made, release
from stagecoach.kinds.evalgate.released import Unjudged as Unjudged
from stagecoach.kinds.evalgate.untuned import BaseItself
from stagecoach.kinds.evaluation import document
from stagecoach.kinds.finetunerun.inputs import decided


def admitted(run: FineTuneRun, project: TransformerProject) -> Admitted:
    """Return all that gateway and engine have to know of what a run has made, by its project, which is Ready.

    Raises Unjudged when what the project says is not that of then.
    """
    check_engine(project)
    check_servable(run, project, "Create another run, of what vLLM serves.")
    inputs, artifact = made(run)
    how = _how_asked(run, project, inputs)
    return Admitted(
        described=DescribedRelease(release=release(run, project, how.digest), asked=how),
        labels=_labels(run, project, inputs, how),
        base=_base(project, inputs),
        artifact=_type(artifact),
        storage=inputs.storage,
        run=run.metadata.name,
    )


def admitted_itself(base: BaseItself, project: TransformerProject) -> Admitted:
    """Return the same of a base itself, with the prompt of its project, which is Ready. Raises Unjudged."""
    found = untuned.described(base, project)
    untuned.check_servable(found, project)
    judged = found.base
    try:
        place = document.model_source(project, base.name, judged.model, judged.tokenizer, judged.revision)
    except document.Changed as changed:
        raise Unjudged("ProjectChanged", untuned.unsaid(changed)) from changed
    labels = found.asked.labels
    return Admitted(
        described=DescribedRelease(release=found.release, asked=found.asked),
        labels=labels.values if labels is not None and found.asked.task == "Classification" else None,
        base=place,
        storage=found.storage,
    )


def _how_asked(run: FineTuneRun, project: TransformerProject, inputs: Inputs) -> Asked:
    """Return in full how the model is asked: of the run's digest, or the project says something else by now."""
    base = BaseInput(model=inputs.base, tokenizer=inputs.tokenizer)
    try:
        found = document.how_asked(project, base, inputs.labels, inputs.prompt)
    except document.Changed as changed:
        raise _changed(str(changed)) from changed
    if found.digest != asked(run, project):
        raise _changed("its task, architecture, labels or tokenization are not what they were")
    return found


def _labels(run: FineTuneRun, project: TransformerProject, inputs: Inputs, how: Asked) -> tuple[str, ...] | None:
    """Return the labels that a classification chooses among, in the order in which its model was trained."""
    if how.task != "Classification" or how.labels is None:
        return None
    if how.labels.values is not None:
        return how.labels.values
    # Which labels a data set has is said of the column that the project names now, and has to be that of then.
    try:
        known = decided(run, project, inputs)
    except Blocked as blocked:
        raise Unjudged(blocked.reason, blocked.message) from blocked
    given, told = project.spec.problem.labels, project.status.labels
    source = next((item for item in project.status.datasets if given and item.name == given.from_dataset), None)
    if known.digest != inputs.digest or source is None or source.digest != inputs.labels or told is None:
        raise _changed("the data set that its labels are taken from, or its columns, are not what they were")
    try:
        return document.resolved_labels(project)
    except document.TooManyLabels as error:
        raise Unjudged("TooManyLabels", f"{error}, and create another run.") from error


def _base(project: TransformerProject, inputs: Inputs) -> ModelSource:
    try:
        return document.model_source(project, inputs.candidate, inputs.base, inputs.tokenizer, inputs.base_revision)
    except document.Changed as changed:
        raise _changed(str(changed)) from changed


def _type(artifact: Artifact) -> Literal["Adapter", "Model"]:
    if artifact.type not in ("Adapter", "Model"):
        message = f"status.artifact.type of the run is {artifact.type!r}, which this version of the operator does not"
        raise Unjudged("ArtifactUnknown", f"{message} know: upgrade the operator.")
    return cast(Literal["Adapter", "Model"], artifact.type)


def _changed(what: str) -> Unjudged:
    return Unjudged("ProjectChanged", f"The project changed since this run: {what}. {ANOTHER}")
