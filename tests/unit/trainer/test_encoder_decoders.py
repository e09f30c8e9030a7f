"""Real runs of encoder-decoders: tiny models of each family that reads a text whole and then writes another."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import (
    Family,
    Freeze,
    FullMethod,
    LoraMethod,
    Method,
    Overflow,
    Prompt,
    PromptTuningMethod,
    Tokenization,
)
from stagecoach.contract.jobs import TrainJob
from stagecoach.contract.reports import BadInput
from tests.unit.contract.documents import METHOD

from .conftest import ANOTHER, EXAMPLES, Project, record_of, train, writing_messages, writing_pairs

pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

LORA = METHOD.model_dump()
DORA = LoraMethod.model_validate(LORA | {"type": "DoRA"})
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
T5 = {"vocab_size": 260, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
T5 |= {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}
LAYERS = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
BART = {"vocab_size": 260, "d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "dropout": 0.0}
BART |= LAYERS | SPECIAL | {"max_position_embeddings": 130, "decoder_start_token_id": 2, "forced_eos_token_id": 2}
# The class that is saved as the base; its configuration's class.
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "T5ForConditionalGeneration": ("T5Config", T5),
    "MT5ForConditionalGeneration": ("MT5Config", T5),
    "BartForConditionalGeneration": ("BartConfig", BART),
    "BartModel": ("BartConfig", BART),
    "MarianMTModel": ("MarianConfig", BART | {"decoder_start_token_id": 0}),
    "PegasusForConditionalGeneration": ("PegasusConfig", BART | {"decoder_start_token_id": 0}),
}
SETTINGS = {"learning_rate": 2e-2, "learning_rate_schedule": "linear", "epochs": 50}
FULL_SETTINGS = SETTINGS | {"learning_rate": 5e-3, "epochs": 25}
RUNS: dict[str, tuple[str, Method, dict[str, Any]]] = {
    # Half the rate that LoRA needs elsewhere: with more, the rounding of one CPU or another decides what it comes to.
    "t5-lora": ("T5ForConditionalGeneration", METHOD, SETTINGS | {"learning_rate": 1e-2, "epochs": 80}),
    "t5-full": ("T5ForConditionalGeneration", FullMethod(), FULL_SETTINGS),
    "bart-full": ("BartForConditionalGeneration", FullMethod(), FULL_SETTINGS | {"learning_rate": 1e-2}),
}


def save_base(folder: Path, architecture: str) -> None:
    """Save a random encoder-decoder with a byte-level tokenizer that puts special tokens around a text as the base's."""
    import torch
    import transformers

    config, sizes = BASES[architecture]
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(getattr(transformers, config)(**sizes))
    # As initialized, all tokens are about as likely as all others but for T5's.
    model.get_input_embeddings().weight.data.mul_(1 if architecture.startswith(("T5", "MT5")) else 6)
    model.save_pretrained(folder)
    _tokenizer("<s> $A </s>" if architecture.startswith("Bart") else "$A </s>").save_pretrained(folder)


def _tokenizer(around: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(single=around, special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def with_base(project: Project, architecture: str) -> Project:
    folder = project.root / "pvc" / "models" / "tiny"
    shutil.rmtree(folder)
    save_base(folder, architecture)
    return writing_pairs(project, "Summarization")


def rewriting_job(project: Project, method: Method = METHOD, **changes: Any) -> TrainJob:
    return project.train_job(architecture=Family.ENCODER_DECODER, method=method, **changes)


FROZEN = FullMethod(freeze=Freeze(embeddings=True, layers=3))
ONE_STEP = {"max_steps": 1, "epochs": None}


@pytest.mark.parametrize("method", [METHOD, FROZEN], ids=lambda method: method.type)
@pytest.mark.parametrize("architecture", BASES)
def test_every_family_is_trained(project: Project, architecture: str, method: Method) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSeq2SeqLM

    job = rewriting_job(with_base(project, architecture), method, settings=ONE_STEP)
    report = train(job)
    record = record_of(project, job)
    assert record.base.architecture == architecture
    assert 0 < record.training.trainable_share < 1
    folder = project.storage.path(f"artifacts/sha256/{report.digest[7:]}")
    base = str(project.root / "pvc" / "models" / "tiny")
    ids = torch.tensor([[40, 41, 42, 2]])
    before = AutoModelForSeq2SeqLM.from_pretrained(base, dtype=torch.float32).eval()
    if method is FROZEN:
        after = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
        assert record.training.frozen.endswith("the lowest 3 of 4 layers; all other weights were trained.")
    else:
        after = PeftModel.from_pretrained(
            AutoModelForSeq2SeqLM.from_pretrained(base, dtype=torch.float32), folder
        ).eval()
        assert "lm_head" not in record.training.target_modules
    with torch.no_grad():
        found = [model(input_ids=ids, labels=ids).logits for model in (before, after)]
    assert found[0].shape == found[1].shape
    assert not torch.equal(*found)


def test_what_is_frozen_stays_as_it_was(project: Project) -> None:
    import torch
    from safetensors.torch import load_file

    job = rewriting_job(with_base(project, "T5ForConditionalGeneration"), FROZEN, settings=ONE_STEP)
    report = train(job)
    before = load_file(project.root / "pvc" / "models" / "tiny" / "model.safetensors")
    after = load_file(project.storage.path(f"artifacts/sha256/{report.digest[7:]}/model.safetensors"))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith(("shared", "encoder.block", "decoder.block.0"))}


def test_tokens_of_both_sides_are_counted(project: Project) -> None:
    job = rewriting_job(with_base(project, "BartForConditionalGeneration"), settings={"epochs": 1})
    train(job)
    answers = {"card_lost": "it is blocked", "parcel_late": "on Monday"}
    tokens = sum(len(text) + 2 + len(answers[label]) + 2 for text, label in EXAMPLES)
    assert record_of(project, job).training.tokens == tokens


def test_in_bfloat16_with_checkpointing(project: Project) -> None:
    settings = ONE_STEP | {"precision": "bfloat16", "gradient_checkpointing": True}
    for method in (METHOD, FullMethod()):
        job = rewriting_job(with_base(project, "T5ForConditionalGeneration"), method, settings=settings)
        report = train(job)
        assert report.digest == train(job.model_copy(update={"force": True, "subject": ANOTHER})).digest


def test_a_method_for_decoders_is_refused(project: Project) -> None:
    job = rewriting_job(with_base(project, "T5ForConditionalGeneration"), PromptTuningMethod(virtual_tokens=4))
    with pytest.raises(BadInput, match="the base is an encoder-decoder") as caught:
        train(job)
    assert caught.value.problem.reason == "MethodUnsuited"


def test_without_a_start_token_it_is_refused(project: Project) -> None:
    import transformers

    config = transformers.T5Config(**T5 | {"decoder_start_token_id": None})
    folder = with_base(project, "T5ForConditionalGeneration").root / "pvc" / "models" / "tiny"
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    with pytest.raises(BadInput, match="no decoder_start_token_id") as caught:
        train(rewriting_job(writing_pairs(project, "Translation")))
    assert caught.value.problem.reason == "BaseUnusable"


@pytest.mark.parametrize(
    ("architecture", "context", "rule", "field"),
    [
        ("T5ForConditionalGeneration", 512, {"max_length": 600, "max_target_length": 600}, None),
        ("T5ForConditionalGeneration", 512, {"max_length": 512, "max_target_length": 512}, ""),
        ("BartForConditionalGeneration", 130, {"max_length": 130, "max_target_length": 130}, ""),
        ("BartForConditionalGeneration", 130, {"max_length": 131, "max_target_length": 20}, "tokenization.maxLength"),
        ("MarianMTModel", 130, {"max_length": 64, "max_target_length": 131}, "tokenization.maxTargetLength"),
    ],
)
def test_lengths(project: Project, architecture: str, context: int, rule: dict[str, int], field: str | None) -> None:
    from stagecoach_trainer.resolve import resolve

    made = with_base(project, architecture)
    lengths = Tokenization(overflow=Overflow.REJECT, **rule)
    job = made.resolve_job(architecture=Family.ENCODER_DECODER, tokenization=lengths, prompt=Prompt(template="{text}"))
    if field:
        with pytest.raises(BadInput, match=f"Set at most {context}") as caught:
            resolve(job)
        assert (caught.value.problem.reason, caught.value.problem.field) == ("MaxLengthTooLong", field)
        return
    found = resolve(job)
    assert (found.candidates[0].architecture, found.candidates[0].context) == (architecture, context)
    codes = [item.code for item in found.findings]
    assert codes == ["Leakage"] if field == "" else ["Leakage", "LongerThanContext"]


def test_the_template_is_the_prefix_and_the_target_has_an_end(project: Project) -> None:
    from stagecoach.contract.prompts import encoder_for
    from stagecoach_trainer import bases

    for architecture, read, written in (
        ("T5ForConditionalGeneration", "summarize: lost</s>", "gone</s>"),
        ("BartForConditionalGeneration", "<s>summarize: lost</s>", "<s>gone</s>"),
    ):
        job = with_base(project, architecture).resolve_job()
        base = bases.read(job.candidates[0], mismatch="", remedy="", family=Family.ENCODER_DECODER)
        tokenizer: Any = bases.load_tokenizer(base)
        rule = Tokenization(max_length=18, max_target_length=8, overflow=Overflow.TRUNCATE)
        encoder = encoder_for(Family.ENCODER_DECODER, tokenizer, Prompt(template="summarize: {text}"), rule)
        assert tokenizer.decode(list(encoder.encode("lost").ids)) == read
        assert tokenizer.decode(list(encoder.completion("gone"))) == written
        assert encoder.encode("lost and found").truncated
        # A tokenizer that puts nothing behind a text: the model must learn all the same where to stop.
        tokenizer.backend_tokenizer.post_processor = None
        assert tokenizer.decode(list(encoder.completion("gone"))) == "gone</s>"


def test_a_conversation_is_refused(project: Project) -> None:
    from stagecoach_trainer.resolve import resolve

    with_base(project, "T5ForConditionalGeneration")
    with pytest.raises(BadInput, match="cannot be told apart") as caught:
        resolve(writing_messages(project).resolve_job(architecture=Family.ENCODER_DECODER))
    assert caught.value.problem.reason == "BaseUnusable"
