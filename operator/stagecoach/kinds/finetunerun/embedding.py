"""What does not go with a run of an Embedding."""

from stagecoach.api.finetunerun import ClassWeights, FineTuneRun
from stagecoach.api.methods import MethodType
from stagecoach.api.problem import Task
from stagecoach.api.transformerproject import TransformerProject


def misfit(run: FineTuneRun, project: TransformerProject) -> tuple[str, str] | None:
    """Return reason and message when a run of an Embedding asks for what it does not have, or would learn nothing."""
    if project.spec.problem.task is not Task.EMBEDDING:
        return None
    if run.spec.method.type is MethodType.IMPORT:
        return "MethodUnsuited", (
            "spec.method.type: Import takes no model of an Embedding, for how its vectors are made lies in more files"
            " than are imported. Create a run that trains one; a base may be whatever was made elsewhere."
        )
    settings = run.spec.hyperparameters
    if settings.class_weights is ClassWeights.BALANCED:
        return "MethodUnsuited", (
            "spec.hyperparameters.classWeights: an Embedding has no labels to weigh. Create the run without it."
        )
    trained = {item.name for item in run.spec.data.train} if run.spec.data else set()
    bare = [item.name for item in project.spec.data.sets if item.name in trained and not item.columns.negative]
    if settings.per_device_batch_size == 1 and bare:
        return "BatchTooSmall", (
            f"spec.hyperparameters.perDeviceBatchSize: 1: the negatives of a query are the passages of the other rows"
            f" of its batch, and without columns.negative a row of {bare[0]} alone teaches nothing. Create the run with"
            " 2 or more; the more, the better. gradientAccumulationSteps adds no negatives."
        )
    return None
