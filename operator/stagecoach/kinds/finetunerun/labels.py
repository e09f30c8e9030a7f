"""Where a run's labels are from: they are the project's, whatever the run trains on."""

from collections.abc import Iterable

from stagecoach.api.data import DataSet
from stagecoach.api.resolved import ResolvedDataset
from stagecoach.api.run_status import Inputs
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.inputs import AnyColumns, DataInput, LabelsInput
from stagecoach.contract.jobs import DataSource
from stagecoach.kinds import contracts
from stagecoach.kinds.blocked import changed


def given(project: TransformerProject, inputs: Inputs) -> LabelsInput | None:
    """Return the labels as they decide a result: the list, or the digest of the data set that they are taken from."""
    labels = project.spec.problem.labels
    if labels is None:
        return None
    return LabelsInput(values=tuple(labels.values) if labels.values else None, from_data=inputs.labels)


def dataset(project: TransformerProject) -> DataSet | None:
    """Return the data set that the labels are taken from, if any. Raises Blocked when the project has it no more."""
    labels = project.spec.problem.labels
    if labels is None or not labels.from_dataset:
        return None
    found = next((item for item in project.spec.data.sets if item.name == labels.from_dataset), None)
    if found is None:
        raise changed(f"data set {labels.from_dataset!r}")
    return found


def columns(project: TransformerProject) -> AnyColumns | None:
    """Return the columns of the data set that the labels are taken from, if any."""
    found = dataset(project)
    return contracts.columns(found, project.spec.problem.task) if found else None


def columns_beside(project: TransformerProject, inputs: Inputs, train: Iterable[DataInput]) -> AnyColumns | None:
    """Return these columns when the data set is not trained on with just these: else it decides nothing more."""
    own = columns(project)
    return None if {item.columns for item in train if item.digest == inputs.labels} == {own} else own


def source(project: TransformerProject, inputs: Inputs) -> DataSource | None:
    """Return where the data set lies that the labels are taken from, if any."""
    found = dataset(project)
    if found is None:
        return None
    return contracts.data_source(found, project.spec.problem.task, inputs.labels, inputs.labels_revision)


def resolved(project: TransformerProject) -> ResolvedDataset | None:
    """Return what was found of the data set that the labels are taken from, if any."""
    labels = project.spec.problem.labels
    name = labels.from_dataset if labels else None
    return next((item for item in project.status.datasets if item.name == name), None)
