"""Which release a run has made, by what its status says, and how its model is asked."""

from dataclasses import dataclass

from stagecoach.api.candidates import InferenceEngine
from stagecoach.api.finetunerun import FineTuneRun
from stagecoach.api.run_status import Artifact, Inputs
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.releases import Asked, Release
from stagecoach.kinds.blocked import Blocked
from stagecoach.kinds.conditions import of
from stagecoach.kinds.conditions import said as said_again
from stagecoach.kinds.evaluation import document
from stagecoach.kinds.finetunerun.inputs import decided, servable

ANOTHER = "Bring it back as it was, or create another run for what the project says now."
BY_TRANSFORMERS = "To judge it all the same, set the project's spec.inference.engine to Transformers."


@dataclass(frozen=True)
class Unjudged(Exception):
    """Why what a run has made can be neither judged nor served."""

    reason: str
    message: str


def made(run: FineTuneRun) -> tuple[Inputs, Artifact]:
    """Return what a run that has succeeded was made of, and what it has made."""
    if run.status.inputs is None or run.status.artifact is None:
        raise AssertionError("only runs that have succeeded are candidates")
    return run.status.inputs, run.status.artifact


def asked(run: FineTuneRun, project: TransformerProject) -> str:
    """Return how the model is asked: as its status says, or, of an older run, if the project still tells it."""
    inputs, _ = made(run)
    if inputs.asked is not None:
        return inputs.asked
    try:
        known = decided(run, project, inputs)
    except Blocked as blocked:
        raise Unjudged(blocked.reason, blocked.message) from blocked
    if known.digest != inputs.digest:
        message = (
            "The run is of an operator that did not write down how its model is asked, and the project's task, labels,"
            f" columns or tokenization are not what they were then. {ANOTHER}"
        )
        raise Unjudged("AskedUnknown", message)
    return Asked.of(known).digest


def release(run: FineTuneRun, project: TransformerProject, how: str) -> Release:
    """Return what is judged of a run whose model is asked like this: by what the project computes answers with."""
    inference = project.spec.inference
    _, artifact = made(run)
    return Release(asked=how, artifact=artifact.digest, engine=document.engine(inference.engine, inference.precision))


def check_engine(project: TransformerProject) -> None:
    """Raise Unjudged where no deployment serves what the project asks by."""
    if project.spec.inference.engine is not InferenceEngine.VLLM:
        message = (
            f"spec.inference.engine of TransformerProject {project.metadata.name!r} is Transformers, and deployments"
            " serve with vLLM alone, so that what was judged is what answers. Set the engine to vLLM: the gates judge"
            " anew then."
        )
        raise Unjudged("EngineNotServed", message)


def check_servable(run: FineTuneRun, project: TransformerProject, advice: str = BY_TRANSFORMERS) -> None:
    """Raise Unjudged for what vLLM is not known to serve. Of an import, its run alone says what is known."""
    told = of(run.status.conditions, "Servable")
    inputs, _ = made(run)
    known = said_again(told) if told else servable(run, project, inputs)
    if known is None:
        message = "Whether vLLM serves what the run made is not known: no condition Servable of the run says it, and"
        message += " the project's status does not tell by which method it was made, and of which base."
        raise Unjudged("MethodUnknown", f"{message} {advice}")
    if known.holds is not True:
        raise Unjudged(known.reason, f"{known.message} {advice}")
