"""Whether a model has positions for what it reads and writes. No torch in here."""

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from stagecoach.contract.inputs import Decided, Tokenization
from stagecoach.contract.prompts import Encoder, encoder_for
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer.bases import CAUSAL_SUFFIXES, RELATIVE, Base, load_tokenizer

_NAMES = (
    *("BioGpt", "CodeGen", "GPTBigCode", "GPTJ", "GPTNeo", "Mpt", "MPT", "OPT"),
    # The halves of encoder-decoders that write.
    *("Bart", "BigBirdPegasus", "Blenderbot", "BlenderbotSmall", "MBart", "Marian", "Mvp", "Pegasus", "PLBart"),
    "TrOCR",
    # Encoders that were made to write.
    *("BigBird", "Camembert", "Data2VecText", "Electra", "Ernie", "MegatronBert", "RemBert", "RoCBert", "RoFormer"),
    *("Roberta", "RobertaPreLayerNorm", "XLMRoberta", "XLMRobertaXL", "Xmod"),
)
# Decoders that look each position up in a table, and fail behind its end. All others count how far tokens are apart.
ABSOLUTE = {
    *("BertLMHeadModel", "CTRLLMHeadModel", "GPT2LMHeadModel", "OpenAIGPTLMHeadModel", "XLMWithLMHeadModel"),
    *(f"{name}ForCausalLM" for name in _NAMES),
}


class Lengths(NamedTuple):
    """How many tokens a prompt may have, and how many come beside it."""

    rule: Tokenization
    written: int = 0  # the longest label or target, its end included
    virtual: int = 0  # those that a method puts before the input


def of(encoder: Encoder, labels: Sequence[str], virtual: int = 0) -> Lengths:
    """Return what may come together in a model for a rule, and labels if that writes some."""
    rule = encoder.tokenization
    written = rule.max_target_length or max((len(encoder.completion(label)) for label in labels), default=0)
    return Lengths(rule, written, virtual)


def decided(inputs: Decided, base: Base, labels: Sequence[str], virtual: int = 0) -> Lengths:
    """Return the same of inputs and their base."""
    tokenizer = load_tokenizer(base)
    return of(encoder_for(inputs.family, tokenizer, inputs.prompt, inputs.tokenization), labels, virtual)


def is_decoder(base: Base) -> bool:
    """Whether a model writes behind what it reads."""
    return base.architecture.endswith(CAUSAL_SUFFIXES)


def check(base: Base, lengths: Lengths) -> None:
    """Raise BadInput when a model has no positions for the longest that it may have to read and write.

    One that only counts how far tokens are apart may be longer than it likes.
    """
    if base.architecture in ABSOLUTE:
        _check_together(base, lengths)
    elif not is_decoder(base) and base.architecture not in RELATIVE:
        _check_apart(base, lengths.rule)


def _check_apart(base: Base, rule: Tokenization) -> None:
    for field, length in (("maxLength", rule.max_length), ("maxTargetLength", rule.max_target_length or 0)):
        if length > base.context:
            message = f"{base.source.name} reads and writes at most {base.context} tokens."
            remedy = f"Set at most {base.context}, or select another candidate."
            _refuse(f"tokenization.{field}", length, message, remedy)


def _check_together(base: Base, lengths: Lengths) -> None:
    rule, written, virtual = lengths.rule, lengths.written, lengths.virtual
    left = base.context - rule.max_length - written
    what = "a target" if rule.max_target_length else "the longest label"
    name, context = base.source.name, base.context
    told = f"{name} has positions for {context} tokens; a prompt may have {rule.max_length}, and {what} {written}"
    if left < 0:
        remedy = f"Set at most {context - written}, or select another candidate."
        if rule.max_target_length:
            both = "tokenization.maxLength and maxTargetLength (by default as much)"
            remedy = f"Let {both} be at most {context} together, or select another candidate."
        _refuse("tokenization.maxLength", rule.max_length, f"{told}.", remedy)
    if virtual > left:
        fewer = f"Take at most {left}" if left else "Take a method without them"
        remedy = f"{fewer}, lower tokenization.maxLength by {virtual - left}, or take another candidate."
        _refuse("method.virtualTokens", virtual, f"{told}: {left} are left for {virtual} virtual ones.", remedy)


def _refuse(field: str, value: int, message: str, remedy: str) -> NoReturn:
    raise BadInput(Problem.of("MaxLengthTooLong", message, field=field, value=str(value), remedy=remedy))
