"""What vLLM can serve of what a run trains."""

import pytest

from stagecoach.api.methods import MethodType
from stagecoach.api.problem import Task
from stagecoach.contract.inputs import Family
from stagecoach.policies.servable import WHOLE_ONLY, WITH_ADAPTERS, servable, servable_base

DECODER, ENCODER = Family.DECODER, Family.ENCODER
CASES = [
    (DECODER, "LlamaForCausalLM", "LoRA", True, "Adapter", "LoRA adapters beside a LlamaForCausalLM"),
    (DECODER, "Qwen3ForCausalLM", "RsLoRA", True, "Adapter", "RsLoRA"),
    (DECODER, "LlamaForCausalLM", "QLoRA", True, "Adapter", "beside a LlamaForCausalLM. The base is served as it is, not in the 4 bits of the training."),
    (DECODER, "GPT2LMHeadModel", "QLoRA", False, "NeedsMerging", "merged into its base"),
    (Family.ENCODER_DECODER, "T5ForConditionalGeneration", "QLoRA", False, "ArchitectureNotServed", "transformers alone"),
    (DECODER, "LlamaForCausalLM", "Full", True, "WholeModel", "LlamaForCausalLM"),
    (DECODER, "LlamaForCausalLM", "DoRA", False, "NeedsMerging", "merged into its base"),
    (DECODER, "LlamaForCausalLM", "IA3", False, "NeedsMerging", "merged into its base"),
    (DECODER, "LlamaForCausalLM", "PrefixTuning", False, "PromptLearning", "transformers alone"),
    (DECODER, "LlamaForCausalLM", "PromptTuning", False, "PromptLearning", "transformers alone"),
    (DECODER, "NewForCausalLM", "PTuning", False, "PromptLearning", "transformers alone"),
    (DECODER, "GPT2LMHeadModel", "LoRA", False, "NeedsMerging", "without adapters"),
    (DECODER, "GPT2LMHeadModel", "Full", True, "WholeModel", "GPT2LMHeadModel"),
    (DECODER, "NewForCausalLM", "LoRA", False, "ArchitectureNotServed", "select another base"),
    (DECODER, "NewForCausalLM", "Full", False, "ArchitectureNotServed", "NewForCausalLM"),
    (ENCODER, "BertForMaskedLM", "Full", True, "WholeModel", "sequence classifiers"),
    (ENCODER, "RobertaForMaskedLM", "Full", True, "WholeModel", "sequence classifiers"),
    (ENCODER, "XLMRobertaModel", "Full", True, "WholeModel", "sequence classifiers"),
    (ENCODER, "ModernBertForMaskedLM", "Full", True, "WholeModel", "sequence classifiers"),
    (ENCODER, "BertForMaskedLM", "LoRA", False, "NeedsMerging", "whose head is part of it"),
    (ENCODER, "DistilBertForMaskedLM", "Full", False, "ArchitectureNotServed", "DistilBertForMaskedLM's family"),
    (Family.ENCODER_DECODER, "T5ForConditionalGeneration", "LoRA", False, "ArchitectureNotServed", "T5ForConditionalGeneration is for transformers alone"),
    (Family.ENCODER_DECODER, "BartForConditionalGeneration", "Full", False, "ArchitectureNotServed", "no text models with encoder and decoder"),
    (ENCODER, "DebertaV2Model", "LoRA", False, "ArchitectureNotServed", "DebertaV2Model's family"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "architecture", "method", "holds", "reason", "words"), CASES)
def test_what_can_be_served(
    family: Family, architecture: str, method: str, holds: bool, reason: str, words: str
) -> None:
    verdict = servable(Task.CLASSIFICATION, family, architecture, method)
    assert (verdict.holds, verdict.reason) == (holds, reason)
    assert words in verdict.message


@pytest.mark.parametrize(
    ("architecture", "method", "holds", "reason", "words"),
    [
        (
            "BertForMaskedLM",
            "Full",
            True,
            "WholeModel",
            "embeddings of BertForMaskedLM's family, with --runner pooling",
        ),
        ("RobertaModel", "Full", True, "WholeModel", "RobertaModel's family"),
        ("XLMRobertaModel", "Full", False, "ArchitectureNotServed", "embeddings of XLMRobertaModel's family"),
        ("ModernBertModel", "LoRA", False, "NeedsMerging", "merged into its base"),
        ("RobertaModel", "DoRA", False, "NeedsMerging", "merged into its base"),
        ("DistilBertModel", "Full", False, "ArchitectureNotServed", "embeddings of DistilBertModel's family"),
    ],
)
def test_which_embeddings_can_be_served(architecture: str, method: str, holds: bool, reason: str, words: str) -> None:
    verdict = servable(Task.EMBEDDING, ENCODER, architecture, method)
    assert (verdict.holds, verdict.reason) == (holds, reason)
    assert words in verdict.message


Said = tuple[bool | None, str]
ADAPTER: Said = (True, "Adapter")
WHOLE: Said = (True, "WholeModel")
MERGE: Said = (False, "NeedsMerging")
VIRTUAL: Said = (False, "PromptLearning")
NOT_SERVED: Said = (False, "ArchitectureNotServed")
UNPROVEN: Said = (False, "TaskUnproven")
UNKNOWN: Said = (None, "MethodUnknown")
# What each family takes, and what nobody knows by name: an import before it is known, and a method of later.
METHODS: dict[Family, tuple[str, ...]] = {
    DECODER: (
        *("LoRA", "RsLoRA", "QLoRA", "DoRA", "IA3", "PrefixTuning", "PromptTuning", "PTuning", "Full"),
        *("Import", "VeRA"),
    ),
    ENCODER: ("LoRA", "RsLoRA", "DoRA", "Full", "Import", "VeRA"),
    Family.ENCODER_DECODER: ("LoRA", "RsLoRA", "QLoRA", "DoRA", "Full", "Import", "VeRA"),
}
OF_DECODERS: list[Said] = [MERGE, MERGE, VIRTUAL, VIRTUAL, VIRTUAL, WHOLE, UNKNOWN, UNKNOWN]
# Of each architecture, with such a task, the verdicts on its methods in the order above.
VERDICTS: list[tuple[Task, Family, str, list[Said]]] = [
    (Task.CLASSIFICATION, DECODER, "LlamaForCausalLM", [ADAPTER, ADAPTER, ADAPTER, *OF_DECODERS]),
    (Task.GENERATION, DECODER, "Qwen3ForCausalLM", [ADAPTER, ADAPTER, ADAPTER, *OF_DECODERS]),
    (Task.TRANSLATION, DECODER, "GPT2LMHeadModel", [MERGE, MERGE, MERGE, *OF_DECODERS]),
    (Task.SUMMARIZATION, DECODER, "NewForCausalLM", [*[NOT_SERVED] * 5, *[VIRTUAL] * 3, NOT_SERVED, UNKNOWN, UNKNOWN]),
    (Task.CLASSIFICATION, ENCODER, "BertForMaskedLM", [MERGE, MERGE, MERGE, WHOLE, UNKNOWN, UNKNOWN]),
    (Task.CLASSIFICATION, ENCODER, "DistilBertForMaskedLM", [*[NOT_SERVED] * 4, UNKNOWN, UNKNOWN]),
    (Task.TOKEN_CLASSIFICATION, ENCODER, "BertForMaskedLM", [*[UNPROVEN] * 4, UNKNOWN, UNKNOWN]),
    (Task.EMBEDDING, ENCODER, "ModernBertModel", [MERGE, MERGE, MERGE, WHOLE, UNKNOWN, UNKNOWN]),
    (Task.EMBEDDING, ENCODER, "DebertaV2Model", [*[NOT_SERVED] * 4, UNKNOWN, UNKNOWN]),
    (Task.TRANSLATION, Family.ENCODER_DECODER, "T5ForConditionalGeneration", [*[NOT_SERVED] * 5, UNKNOWN, UNKNOWN]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("task", "family", "architecture", "method", "verdict"),
    [
        (task, family, architecture, method, verdict)
        for task, family, architecture, verdicts in VERDICTS
        for method, verdict in zip(METHODS[family], verdicts, strict=True)
    ],
)
def test_every_method_has_its_verdict(
    task: Task, family: Family, architecture: str, method: str, verdict: Said
) -> None:
    found = servable(task, family, architecture, method)
    assert (found.holds, found.reason) == verdict


def test_no_method_is_left_out() -> None:
    """One that is added has to be looked at: nothing is said to be served by default."""
    assert {kind.value for kind in MethodType} <= set(METHODS[DECODER])


def test_what_is_not_known_is_neither_promised_nor_denied() -> None:
    verdict = servable(Task.CLASSIFICATION, DECODER, "LlamaForCausalLM", "VeRA")
    assert verdict.message == "Whether vLLM serves what VeRA makes is not known here. Try it before you rely on it."


def test_that_tags_can_be_served_is_not_claimed() -> None:
    verdict = servable(Task.TOKEN_CLASSIFICATION, ENCODER, "BertForMaskedLM", "Full")
    assert (verdict.holds, verdict.reason) == (False, "TaskUnproven")
    assert "BertForMaskedLM's family" in verdict.message
    assert "transformers, as a whole model or with PEFT" in verdict.message


def test_an_architecture_is_in_one_table() -> None:
    assert not WITH_ADAPTERS & WHOLE_ONLY


@pytest.mark.parametrize(
    ("task", "family", "architecture", "holds", "reason", "words"),
    [
        (Task.CLASSIFICATION, DECODER, "LlamaForCausalLM", True, "WholeModel", "LlamaForCausalLM"),
        (Task.GENERATION, DECODER, "GPT2LMHeadModel", True, "WholeModel", "GPT2LMHeadModel"),
        (Task.GENERATION, DECODER, "NewForCausalLM", False, "ArchitectureNotServed", "select another base"),
        (Task.TOKEN_CLASSIFICATION, ENCODER, "BertModel", False, "TaskUnproven", "token classifiers"),
        (Task.CLASSIFICATION, ENCODER, "BertModel", False, "BaseUntrained", "create a run of it"),
        (Task.EMBEDDING, ENCODER, "BertModel", True, "WholeModel", "embeddings of BertModel's family"),
        (Task.EMBEDDING, ENCODER, "BertForMaskedLM", False, "ArchitectureNotServed", "is no plain encoder"),
        (Task.EMBEDDING, ENCODER, "XLMRobertaModel", False, "ArchitectureNotServed", "XLMRobertaModel's family"),
        (
            Task.SUMMARIZATION,
            Family.ENCODER_DECODER,
            "T5ForConditionalGeneration",
            False,
            "ArchitectureNotServed",
            "T5",
        ),
    ],
)
def test_which_bases_can_be_served_themselves(
    task: Task, family: Family, architecture: str, holds: bool, reason: str, words: str
) -> None:
    verdict = servable_base(task, family, architecture)
    assert (verdict.holds, verdict.reason) == (holds, reason)
    assert words in verdict.message
