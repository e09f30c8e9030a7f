"""How work ends without a result when neither the input nor a service is at fault."""

from collections.abc import Iterator
from contextlib import contextmanager

from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed


class WorkFailed(Exception):
    """The work failed for a known reason; the problem says what to try."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


def not_finite(message: str) -> WorkFailed:
    """Return the failure of a training in which a number is infinite or none; it would be in another attempt too."""
    return WorkFailed(
        Problem.of(
            "LossNotFinite",
            message,
            field="hyperparameters",
            remedy="Lower learningRate, raise warmupRatio, set maxGradNorm to 1.0, or train in float32.",
        )
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether work failed for want of memory. Libraries have no common class for it; only their words are alike."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(
        want in words for want in ("out of memory", "can't allocate memory", "cannot allocate memory")
    )


@contextmanager
def at(field: str, revision: str = "", value: str = "") -> Iterator[None]:
    """Name the spec field, and its value, for problems of a place that do not know which field named it.

    That there is no such revision is a problem of another field.
    """
    try:
        yield
    except (BadInput, StorageFailed) as error:
        problem = error.problem
        if problem.field:
            raise
        named = revision if revision and problem.reason == "RevisionMissing" else field
        told = {"field": named, "value": value or problem.value}
        raise type(error)(problem.model_copy(update=told)) from error
