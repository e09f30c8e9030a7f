"""How long a prompt may be beside what else a model has to place."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Method, Overflow, PrefixTuningMethod, PromptTuningMethod, Tokenization
from stagecoach.contract.jobs import ModelSource, TrainJob
from stagecoach.contract.layout import artifact_folder
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import bases, lengths
from stagecoach_trainer.bases import Base
from stagecoach_trainer.lengths import ABSOLUTE, Lengths
from tests.unit.contract.documents import METHOD

from .conftest import Project, save_tokenizer, train, writing_pairs
from .elsewhere import refusal

pytestmark = pytest.mark.filterwarnings("ignore")

SOURCE = ModelSource(name="tiny", uri="pvc://models/tiny")
SPECIAL = {"vocab_size": 64, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
PLAIN = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16}
OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
HALF = {
    **{f"{half}_layers": 2 for half in ("encoder", "decoder")},
    **{f"{half}_attention_heads": 4 for half in ("encoder", "decoder")},
    **{f"{half}_ffn_dim": 64 for half in ("encoder", "decoder")},
    "d_model": 32,
    "max_position_embeddings": 16,
    "decoder_start_token_id": 2,
}
ENCODER = PLAIN | {"intermediate_size": 64, "is_decoder": True}
BESIDE_PADDING = ENCODER | {"max_position_embeddings": 17}  # the first is that of padding
# Of each class, what makes a tiny model with 16 positions of it.
DECODERS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": OLD,
    "OpenAIGPTLMHeadModel": OLD,
    "CTRLLMHeadModel": OLD | {"dff": 64},
    "GPTBigCodeForCausalLM": OLD,
    "GPTJForCausalLM": OLD | {"rotary_dim": 4},
    "CodeGenForCausalLM": OLD | {"rotary_dim": 4},
    "GPTNeoForCausalLM": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": 16,
        "attention_types": [[["global"], 2]],
    },
    "BioGptForCausalLM": PLAIN | {"intermediate_size": 64},
    "OPTForCausalLM": PLAIN | {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "MptForCausalLM": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 16},
    "BertLMHeadModel": ENCODER,
    "BigBirdForCausalLM": ENCODER | {"attention_type": "original_full"},
    "ElectraForCausalLM": ENCODER | {"embedding_size": 32},
    "ErnieForCausalLM": ENCODER,
    "MegatronBertForCausalLM": ENCODER,
    "RemBertForCausalLM": ENCODER | {"input_embedding_size": 32, "output_embedding_size": 32},
    "RoCBertForCausalLM": ENCODER | {"enable_pronunciation": False, "enable_shape": False},
    "RoFormerForCausalLM": ENCODER,
    "CamembertForCausalLM": BESIDE_PADDING,
    "Data2VecTextForCausalLM": BESIDE_PADDING,
    "RobertaForCausalLM": BESIDE_PADDING,
    "RobertaPreLayerNormForCausalLM": BESIDE_PADDING,
    "XLMRobertaForCausalLM": BESIDE_PADDING,
    "XLMRobertaXLForCausalLM": BESIDE_PADDING,
    "XmodForCausalLM": BESIDE_PADDING | {"languages": ["en_XX"], "default_language": "en_XX"},
    "BartForCausalLM": HALF,
    "BigBirdPegasusForCausalLM": HALF,
    "BlenderbotForCausalLM": HALF,
    "BlenderbotSmallForCausalLM": HALF,
    "MBartForCausalLM": HALF,
    "MarianForCausalLM": HALF,
    "MvpForCausalLM": HALF,
    "PegasusForCausalLM": HALF,
    "PLBartForCausalLM": HALF,
    "TrOCRForCausalLM": HALF,
    "XLMWithLMHeadModel": {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 16},
}
LONGER = {
    "LlamaForCausalLM": PLAIN | {"intermediate_size": 64},
    "GPTNeoXForCausalLM": PLAIN | {"intermediate_size": 64},
    "BloomForCausalLM": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
}


def tiny(name: str, sizes: dict[str, Any]) -> Any:
    torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    import transformers

    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**(SPECIAL | sizes))).eval()


def reads(model: Any, tokens: int) -> None:
    import torch

    with torch.no_grad():
        model(input_ids=torch.full((1, tokens), 5))


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_with_a_table_of_positions_fails_behind_its_end(project: Project, name: str) -> None:
    model = tiny(name, DECODERS[name])
    model.save_pretrained(project.root / "pvc" / "models" / "tiny")
    base = bases.read(SOURCE, mismatch="", remedy="")
    assert (base.architecture, base.context) == (name, 16)
    assert name in ABSOLUTE
    reads(model, 16)
    with pytest.raises((IndexError, RuntimeError)):
        reads(model, 17)


def test_all_of_them_were_looked_at() -> None:
    assert set(DECODERS) | {"MPTForCausalLM"} == ABSOLUTE, "the last is what MPT's own checkpoints call themselves"


@pytest.mark.parametrize("name", LONGER)
def test_others_read_on(name: str) -> None:
    assert name not in ABSOLUTE
    reads(tiny(name, LONGER[name]), 17)


def found(architecture: str, context: int, needed: Lengths) -> Problem | None:
    try:
        lengths.check(Base(SOURCE, "", "", "", architecture, context), needed)
    except BadInput as error:
        return error.problem
    return None


def rule(length: int, target: int | None = None) -> Tokenization:
    return Tokenization(max_length=length, max_target_length=target, overflow=Overflow.TRUNCATE)


GPT2, LLAMA, BERT, T5 = "GPT2LMHeadModel", "LlamaForCausalLM", "BertForMaskedLM", "T5ForConditionalGeneration"
BART = "BartForConditionalGeneration"
CHECKS = [
    (GPT2, Lengths(rule(90), 10), None, ""),
    (GPT2, Lengths(rule(91), 10), "tokenization.maxLength", "Set at most 90, or select another candidate."),
    (GPT2, Lengths(rule(100), 3), "tokenization.maxLength", "Set at most 97"),
    (GPT2, Lengths(rule(60, 40), 40), None, ""),
    (GPT2, Lengths(rule(64, 40), 40), "tokenization.maxLength", "maxTargetLength (by default as much) be at most 100 together"),
    (GPT2, Lengths(rule(70), 10, 20), None, ""),
    (GPT2, Lengths(rule(71), 10, 20), "method.virtualTokens", "Take at most 19, lower tokenization.maxLength by 1, or take"),
    (GPT2, Lengths(rule(90), 10, 20), "method.virtualTokens", "Take a method without them, lower tokenization.maxLength by 20"),
    (LLAMA, Lengths(rule(500), 10, 20), None, ""),
    (BERT, Lengths(rule(100)), None, ""),
    (BERT, Lengths(rule(101)), "tokenization.maxLength", "Set at most 100"),
    (BART, Lengths(rule(100, 100), 100), None, ""),
    (BART, Lengths(rule(100, 101), 101), "tokenization.maxTargetLength", "Set at most 100"),
    (T5, Lengths(rule(500, 500), 500), None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("architecture", "needed", "field", "remedy"), CHECKS)
def test_what_a_model_has_positions_for(architecture: str, needed: Lengths, field: str | None, remedy: str) -> None:
    problem = found(architecture, 100, needed)
    if field is None:
        assert problem is None
        return
    assert problem is not None
    values = {
        "tokenization.maxLength": needed.rule.max_length,
        "tokenization.maxTargetLength": needed.rule.max_target_length,
        "method.virtualTokens": needed.virtual,
    }
    assert (problem.reason, problem.field, problem.value) == ("MaxLengthTooLong", field, str(values[field]))
    assert "100" in problem.message
    assert remedy in problem.remedy


# The tokenizer of these tests has a token for each byte: `parcel_late` and its end are 12.
LABEL, LENGTH, VIRTUAL = 12, 96, 20


def with_gpt2(project: Project, positions: int) -> Project:
    """Return the project with a tiny GPT-2, and texts that are all cut."""
    folder = project.root / "pvc" / "models" / "tiny"
    shutil.rmtree(folder)
    special = {"vocab_size": 259, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    tiny(GPT2, OLD | special | {"n_positions": positions}).save_pretrained(folder)
    save_tokenizer(folder)
    for name in ("train", "valid"):
        project.write(f"{name}.csv", [("a card " * 50, "card_lost"), ("a parcel " * 50, "parcel_late")])
    return project


def cut_job(project: Project, method: Method = METHOD, length: int = LENGTH) -> TrainJob:
    job = project.train_job(method=method, settings={"epochs": 1})
    return job.model_copy(update={"inputs": job.inputs.model_copy(update={"tokenization": rule(length)})})


METHODS = [
    (METHOD, LENGTH + LABEL, "tokenization.maxLength"),
    (PromptTuningMethod(virtual_tokens=VIRTUAL), LENGTH + LABEL + VIRTUAL, "method.virtualTokens"),
    (PrefixTuningMethod(virtual_tokens=VIRTUAL), LENGTH + LABEL + VIRTUAL, "method.virtualTokens"),
]


@pytest.mark.parametrize(("method", "positions", "field"), METHODS, ids=lambda case: getattr(case, "type", ""))
def test_a_run_has_as_many_positions_as_it_needs_or_is_refused(
    project: Project, method: Method, positions: int, field: str
) -> None:
    train(cut_job(with_gpt2(project, positions), method))
    with pytest.raises(BadInput) as caught:
        train(cut_job(with_gpt2(project, positions - 1), method))
    assert (caught.value.problem.reason, caught.value.problem.field) == ("MaxLengthTooLong", field)


def test_a_project_is_refused_before_any_run(project: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    enough = with_gpt2(project, LENGTH + LABEL)
    codes = {item.code for item in resolve(enough.resolve_job(tokenization=rule(LENGTH))).findings}
    assert codes == {"Leakage", "OverflowAboveOnePercent"}
    with pytest.raises(BadInput, match=f"Set at most {LENGTH}") as caught:
        resolve(enough.resolve_job(tokenization=rule(LENGTH + 1)))
    problem = caught.value.problem
    assert (problem.reason, problem.field, problem.value) == ("MaxLengthTooLong", "tokenization.maxLength", "97")
    assert "tiny has positions for 108 tokens; a prompt may have 97, and the longest label 12." in problem.message


def test_what_a_decoder_writes_has_positions_of_its_own(project: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    writes = writing_pairs(with_gpt2(project, 128 + 16 - 1), "Summarization")
    with pytest.raises(BadInput, match="be at most 143 together") as caught:
        resolve(writes.resolve_job())
    assert caught.value.problem.field == "tokenization.maxLength"


def test_an_import_brings_its_virtual_tokens(project: Project) -> None:
    made = with_gpt2(project, LENGTH + LABEL + VIRTUAL)
    report = train(cut_job(made, PromptTuningMethod(virtual_tokens=VIRTUAL)))
    shutil.copytree(made.storage.path(artifact_folder(report.digest)), Path(made.root, "pvc", "made", "it"))
    refusal(made, "MaxLengthTooLong", "19 are left for 20 virtual ones", like=cut_job(made, length=LENGTH + 1))
