"""From a run's method to what the trainer is told: the defaults of each type, and what does not go with the project."""

from stagecoach.api.finetunerun import ClassWeights, FineTuneRun
from stagecoach.api.methods import LOW_RANK, MethodType
from stagecoach.api.methods import Method as Given
from stagecoach.contract.inputs import (
    Family,
    Freeze,
    FullMethod,
    Ia3Method,
    LoraMethod,
    Method,
    PrefixTuningMethod,
    PromptTuningMethod,
    PTuningMethod,
)

DEFAULT_RANK = 16
DEFAULT_ALPHA = 32
DEFAULT_DROPOUT = 0.0
DEFAULT_VIRTUAL_TOKENS = 20
DEFAULT_ENCODER_HIDDEN_SIZE = 128
# What goes with models that are no decoders.
FOR_ENCODERS = (*LOW_RANK, MethodType.FULL)


def misfit(run: FineTuneRun, family: Family) -> tuple[str, str] | None:
    """Return reason and message when the run asks for what models of this family do not have."""
    kind = run.spec.method.type
    if family is not Family.DECODER and kind not in (*FOR_ENCODERS, MethodType.IMPORT):
        return "MethodUnsuited", (
            f"spec.method.type: {kind} is for decoders, and the project's problem.architecture is {family}. Create"
            f" the run with one of {', '.join(item.value for item in FOR_ENCODERS)}."
        )
    if family is not Family.ENCODER and run.spec.hyperparameters.class_weights is ClassWeights.BALANCED:
        return "MethodUnsuited", (
            f"spec.hyperparameters.classWeights: a model of problem.architecture {family} writes texts and has no"
            " classification head to weigh. Create the run without it, or balance the data set."
        )
    return None


def method(given: Given) -> Method:
    """Return a method that trains with the defaults of its type."""
    match given.type:
        case MethodType.IA3:
            return _ia3(given)
        case MethodType.PREFIX_TUNING:
            return PrefixTuningMethod(virtual_tokens=_virtual_tokens(given))
        case MethodType.PROMPT_TUNING:
            return PromptTuningMethod(virtual_tokens=_virtual_tokens(given), init_text=given.init_text)
        case MethodType.P_TUNING:
            size = given.encoder_hidden_size or DEFAULT_ENCODER_HIDDEN_SIZE
            return PTuningMethod(virtual_tokens=_virtual_tokens(given), encoder_hidden_size=size)
        case MethodType.FULL:
            return FullMethod(freeze=_freeze(given))
        case _:
            return _low_rank(given)


def _low_rank(given: Given) -> LoraMethod:
    names = given.target_modules.names if given.target_modules else None
    return LoraMethod.model_validate(
        {
            "type": given.type.value,
            "rank": given.rank or DEFAULT_RANK,
            "alpha": given.alpha or DEFAULT_ALPHA,
            "dropout": DEFAULT_DROPOUT if given.dropout is None else given.dropout,
            "target_modules": tuple(sorted(names)) if names else "all-linear",
        }
    )


def _ia3(given: Given) -> Ia3Method:
    names = given.target_modules.names if given.target_modules else None
    if not names:
        return Ia3Method()
    return Ia3Method(
        target_modules=tuple(sorted(names)), feedforward_modules=tuple(sorted(given.feedforward_modules or ()))
    )


def _virtual_tokens(given: Given) -> int:
    return given.virtual_tokens or DEFAULT_VIRTUAL_TOKENS


def _freeze(given: Given) -> Freeze | None:
    asked = given.freeze
    if asked is None or not (asked.embeddings or asked.layers):
        return None
    return Freeze(embeddings=bool(asked.embeddings), layers=asked.layers or 0)
