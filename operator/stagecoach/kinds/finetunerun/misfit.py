"""What a run may ask for that does not go with its project: nothing is trained, and the message says what would go."""

from stagecoach.api.finetunerun import ClassWeights, FineTuneRun, Sharding
from stagecoach.api.methods import PROMPT_LEARNING, MethodType
from stagecoach.api.problem import Task
from stagecoach.api.resolved import FindingCode, ResolvedCandidate
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract.inputs import Family
from stagecoach.kinds import contracts
from stagecoach.kinds.finetunerun import methods

# What goes with models that are no decoders, one by one: what takes LoRA's parameters need not go with all of them.
# QLoRA is for models too large to be held as they are, which encoders are not.
SUITED = {
    Family.ENCODER: (MethodType.LORA, MethodType.RS_LORA, MethodType.DORA, MethodType.FULL),
    Family.ENCODER_DECODER: (MethodType.LORA, MethodType.RS_LORA, MethodType.DORA, MethodType.QLORA, MethodType.FULL),
}


def misfit(run: FineTuneRun, project: TransformerProject) -> tuple[str, str] | None:
    """Return reason and message when the run asks for what models of the project do not have, or would learn nothing.

    The family comes first, then the task.
    """
    found = _of_family(run, contracts.family(project.spec))
    if found is None and project.spec.problem.task is Task.EMBEDDING:
        return _of_embedding(run, project)
    return found


def longer_than_context(run: FineTuneRun, project: TransformerProject, base: ResolvedCandidate) -> str | None:
    """Return what is wrong when virtual tokens take more context than the base has left, and nobody accepts it.

    The finding of this name counts the project's lengths, and knows of no run.
    """
    method, rule = run.spec.method, contracts.tokenization(project.spec)
    accepted = {item.finding for item in project.spec.accepted}
    if method.type not in PROMPT_LEARNING or FindingCode.LONGER_THAN_CONTEXT in accepted:
        return None
    virtual = methods.virtual_tokens(method)
    needed = rule.max_length + (rule.max_target_length or 0) + virtual
    if needed <= base.context:
        return None
    lengths = f"tokenization.maxLength {rule.max_length}"
    if rule.max_target_length:
        lengths = f"{lengths} and maxTargetLength {rule.max_target_length}"
    return (
        f"spec.method.virtualTokens: {virtual}: with the project's {lengths} these are {needed} tokens, and {base.name}"
        f" has a context of {base.context}. Create a run with fewer; or lower the project's lengths, or accept the"
        " finding, and this run starts: add {finding: LongerThanContext, reason: …, by: …} to its spec.accepted."
    )


def _of_family(run: FineTuneRun, family: Family) -> tuple[str, str] | None:
    kind = run.spec.method.type
    suited = SUITED.get(family)
    if suited and kind not in (*suited, MethodType.IMPORT):
        others = "decoders and encoder-decoders" if kind in SUITED[Family.ENCODER_DECODER] else "decoders"
        return "MethodUnsuited", (
            f"spec.method.type: {kind} is for {others}, and the project's problem.architecture is {family}. Create"
            f" the run with one of {', '.join(item.value for item in suited)}."
        )
    if family is not Family.DECODER and run.spec.resources.sharding is Sharding.FULL:
        return "MethodUnsuited", (
            f"spec.resources.sharding: Full is for decoders, and the project's problem.architecture is {family}. Create"
            " the run without it: each process then holds the whole model."
        )
    if family is not Family.ENCODER and _weighs(run):
        return "MethodUnsuited", (
            f"spec.hyperparameters.classWeights: a model of problem.architecture {family} writes texts and has no"
            " classification head to weigh. Create the run without it, or balance the data set."
        )
    return None


def _of_embedding(run: FineTuneRun, project: TransformerProject) -> tuple[str, str] | None:
    if _weighs(run):
        return "MethodUnsuited", (
            "spec.hyperparameters.classWeights: an Embedding has no labels to weigh. Create the run without it."
        )
    if run.spec.hyperparameters.per_device_batch_size == 1 and (bare := _bare(run, project)):
        return "BatchTooSmall", (
            f"spec.hyperparameters.perDeviceBatchSize: 1: the negatives of a query are the passages of the other rows"
            f" of its batch, and without columns.negative a row of {bare} alone teaches and tells nothing: its loss is"
            " always 0. Create the run with 2 or more; the more, the better. gradientAccumulationSteps adds no"
            " negatives."
        )
    return None


def _weighs(run: FineTuneRun) -> bool:
    return run.spec.hyperparameters.class_weights is ClassWeights.BALANCED


def _bare(run: FineTuneRun, project: TransformerProject) -> str | None:
    """Return the first data set of the run, of training or validation, whose rows bring no negative of their own."""
    used = {item.name for item in (*run.spec.data.train, *run.spec.data.validation)} if run.spec.data else set()
    return next((item.name for item in project.spec.data.sets if item.name in used and not item.columns.negative), None)
