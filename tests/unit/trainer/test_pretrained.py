"""Which checkpoints are loaded, and which lack what transformers would draw at random. Runs inside the trainer's image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.reports import BadInput
from stagecoach.contract.store import StorageFailed
from tests.remedies import speaks

from . import test_encoder_decoders, test_encoders
from .conftest import Project, save_model
from .weights import thin_out

torch = pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

CAUSAL, WRITING, PLAIN = "AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModel"
CHOOSING, TAGGING = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"
HEADS = (CHOOSING, TAGGING)


def save(folder: Path, architecture: str) -> None:
    """Save a random model of a class."""
    if architecture == "GPT2LMHeadModel":
        import transformers

        sizes = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
        transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).save_pretrained(folder)
    elif architecture.startswith("Llama"):
        save_model(folder, tie_word_embeddings=architecture.endswith("tied"))
    elif architecture in test_encoders.BASES:
        test_encoders.save_base(folder, architecture)
    else:
        test_encoder_decoders.save_base(folder, architecture)


def load(folder: Path, kind: str) -> Any:
    """Load what is saved as it is for a run."""
    import transformers

    from stagecoach_trainer.families import pretrained

    return pretrained(getattr(transformers, kind), str(folder), "float32", head=kind in HEADS)


MODELS = [
    *((architecture, CAUSAL) for architecture in ("Llama", "Llama, tied", "GPT2LMHeadModel")),
    *((architecture, WRITING) for architecture in test_encoder_decoders.BASES),
    *((architecture, kind) for architecture in test_encoders.BASES for kind in (*HEADS, PLAIN)),
]


@pytest.mark.parametrize(("architecture", "kind"), MODELS)
def test_a_whole_checkpoint_is_loaded(tmp_path: Path, architecture: str, kind: str) -> None:
    save(tmp_path, architecture)
    drawn = load(tmp_path, kind).drawn
    assert all(kind in HEADS or name.startswith("pooler.") for name in drawn)


# As publishers leave them out: what is computed, zero, or for a task of the pretraining.
LEFT_OUT = [
    ("PegasusForConditionalGeneration", WRITING, ("model.encoder.embed_positions", "model.decoder.embed_positions")),
    ("PegasusForConditionalGeneration", WRITING, ("final_logits_bias",)),
    ("MarianMTModel", WRITING, ("final_logits_bias",)),
    ("BartForConditionalGeneration", WRITING, ("final_logits_bias",)),
    ("BertModel", PLAIN, ("pooler.",)),
    ("BertModel", CHOOSING, ("pooler.",)),
    ("BertForSequenceClassification", CHOOSING, ("bert.pooler.", "classifier.")),
    ("ModernBertForMaskedLM", CHOOSING, ("head.", "decoder.")),
]


@pytest.mark.parametrize(("architecture", "kind", "gone"), LEFT_OUT)
def test_what_is_left_out_of_many_is_not_missed(
    tmp_path: Path, architecture: str, kind: str, gone: tuple[str, ...]
) -> None:
    save(tmp_path, architecture)
    thin_out(tmp_path, *gone)
    one, other = (load(tmp_path, kind).model.state_dict() for _ in range(2))
    drawn = ("classifier.", "bert.pooler.", "pooler.", "head.", "score.")
    assert all(torch.equal(one[name], other[name]) for name in one if not name.startswith(drawn))


LACKING = [
    ("Llama", CAUSAL, ("lm_head.",), "1 are missing, such as lm_head.weight"),
    ("Llama", CAUSAL, ("model.layers.1.",), "9 are missing, such as model.layers.1.input_layernorm.weight"),
    ("Llama, tied", CAUSAL, ("model.embed_tokens.",), "2 are missing, such as lm_head.weight"),
    ("GPT2LMHeadModel", CAUSAL, ("transformer.h.0.attn.c_attn.bias",), "1 are missing, such as transformer.h.0.attn"),
    ("T5ForConditionalGeneration", WRITING, ("shared.",), "are missing, such as decoder.embed_tokens.weight"),
    ("BartModel", WRITING, ("decoder.layers.1.fc1.",), "2 are missing, such as model.decoder.layers.1.fc1.bias"),
    ("PegasusForConditionalGeneration", WRITING, ("model.encoder.layers.0.fc1.bias",), "1 are missing"),
    ("BertForMaskedLM", CHOOSING, ("bert.encoder.layer.1.",), "16 are missing, such as bert.encoder.layer.1.attention"),
    ("BertModel", TAGGING, ("embeddings.LayerNorm.",), "2 are missing, such as bert.embeddings.LayerNorm.bias"),
    ("ModernBertForMaskedLM", CHOOSING, ("model.final_norm.",), "1 are missing, such as model.final_norm.weight"),
    ("BertModel", PLAIN, ("encoder.layer.1.output.",), "4 are missing, such as encoder.layer.1.output"),
]


@pytest.mark.parametrize(("architecture", "kind", "gone", "words"), LACKING)
def test_a_checkpoint_that_lacks_weights(
    tmp_path: Path, architecture: str, kind: str, gone: tuple[str, ...], words: str
) -> None:
    save(tmp_path, architecture)
    thin_out(tmp_path, *gone)
    with pytest.raises(BadInput, match=words) as caught:
        load(tmp_path, kind)
    assert caught.value.problem.reason == "BaseUnusable"
    assert str(tmp_path) in caught.value.problem.message


@pytest.mark.parametrize(
    ("architecture", "kind", "name"),
    [
        ("Llama", CAUSAL, "model.embed_tokens.weight"),
        ("BertForMaskedLM", CHOOSING, "bert.embeddings.word_embeddings.weight"),
    ],
)
def test_a_weight_of_another_shape(tmp_path: Path, architecture: str, kind: str, name: str) -> None:
    save(tmp_path, architecture)
    thin_out(tmp_path, halved=name)
    with pytest.raises(BadInput, match=f"1 are of another shape, such as {name}"):
        load(tmp_path, kind)


def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    save(tmp_path, "Llama")
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadInput, match="the weights cannot be read"):
        load(tmp_path, CAUSAL)
    file.rename(tmp_path / "weights.safetensors")
    with pytest.raises(BadInput, match="transformers does not find the weights"):
        load(tmp_path, CAUSAL)


@pytest.mark.parametrize("indexed", [False, True])
def test_weights_that_are_there_and_cannot_be_opened_may_be_opened_later(tmp_path: Path, *, indexed: bool) -> None:
    """Of a link in a circle as of a mount that falters, the libraries say that there is no such file."""
    import safetensors.torch

    save(tmp_path, "Llama")
    file = tmp_path / "model.safetensors"
    if indexed:
        names = safetensors.torch.load_file(file)
        file = file.rename(tmp_path / "model-1.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, file.name)}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        load(tmp_path, CAUSAL)
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(StorageFailed, match="the weights are there and cannot be opened") as caught:
        load(tmp_path, CAUSAL)
    assert speaks(caught.value.problem.reason, caught.value.problem.sentence)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: thin_out(folder, "model.norm."),
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "model.safetensors").rename(folder / "weights.safetensors"),
        lambda folder: (folder / "config.json").write_text('{"model_type": 1}'),
    ],
)
def test_a_base_that_is_written_to_is_tried_again(real: Project, change: Callable[[Path], Any]) -> None:
    from stagecoach_trainer import asking, bases

    job = real.train_job()
    base = bases.read(job.base, mismatch="", remedy="")
    change(real.root / "pvc" / "models" / "tiny")
    with pytest.raises(StorageFailed) as caught:
        asking.Loaded(asking.Model(job.inputs, ("a", "b"), base, None, "float32"))
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("SourceChanged", "candidates[tiny].model.uri")


def test_what_is_asked_is_loaded_as_for_a_run(real: Project) -> None:
    """A gate asks bases, and what was trained from them, in the same way."""
    from stagecoach_trainer import asking, bases

    folder = real.root / "pvc" / "models" / "tiny"
    thin_out(folder, "model.norm.")
    job = real.train_job()
    base = bases.read(job.base, mismatch="", remedy="")
    with pytest.raises(BadInput) as caught:
        asking.Loaded(asking.Model(job.inputs, ("a", "b"), base, None, "float32"))
    problem = caught.value.problem
    assert (problem.field, problem.value) == ("candidates[tiny].model.uri", "pvc://models/tiny")
