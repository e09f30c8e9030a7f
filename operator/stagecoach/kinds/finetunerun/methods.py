"""From a run's method to what the trainer is told: the defaults of each type."""

from stagecoach.api.methods import Method as Given
from stagecoach.api.methods import MethodType
from stagecoach.contract.inputs import (
    Freeze,
    FullMethod,
    Ia3Method,
    LoraMethod,
    LowRankMethod,
    Method,
    PrefixTuningMethod,
    PromptTuningMethod,
    PTuningMethod,
    QloraMethod,
)

DEFAULT_RANK = 16
DEFAULT_ALPHA = 32
DEFAULT_DROPOUT = 0.0
DEFAULT_VIRTUAL_TOKENS = 20
DEFAULT_ENCODER_HIDDEN_SIZE = 128


def method(given: Given) -> Method:
    """Return a method that trains with the defaults of its type."""
    match given.type:
        case MethodType.IA3:
            return _ia3(given)
        case MethodType.PREFIX_TUNING:
            return PrefixTuningMethod(virtual_tokens=virtual_tokens(given))
        case MethodType.PROMPT_TUNING:
            return PromptTuningMethod(virtual_tokens=virtual_tokens(given), init_text=given.init_text)
        case MethodType.P_TUNING:
            size = given.encoder_hidden_size or DEFAULT_ENCODER_HIDDEN_SIZE
            return PTuningMethod(virtual_tokens=virtual_tokens(given), encoder_hidden_size=size)
        case MethodType.FULL:
            return FullMethod(freeze=_freeze(given))
        case _:
            return _low_rank(given)


def _low_rank(given: Given) -> LowRankMethod:
    names = given.target_modules.names if given.target_modules else None
    kind = QloraMethod if given.type is MethodType.QLORA else LoraMethod
    return kind.model_validate(
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


def virtual_tokens(given: Given) -> int:
    """Return how many tokens a method of virtual tokens puts before the input."""
    return given.virtual_tokens or DEFAULT_VIRTUAL_TOKENS


def _freeze(given: Given) -> Freeze | None:
    asked = given.freeze
    if asked is None or not (asked.embeddings or asked.layers):
        return None
    return Freeze(embeddings=bool(asked.embeddings), layers=asked.layers or 0)
