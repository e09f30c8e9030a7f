"""Imports of adapters and models that are broken, or do not fit the base."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.reports import ArtifactReport

from .conftest import Project
from .elsewhere import (
    change,
    made,
    refusal,
    weights,
    whole_decoder,
)

__all__ = ["made"]
pytestmark = pytest.mark.filterwarnings("ignore")


def _first(tensors: dict[str, Any]) -> str:
    return next(iter(sorted(tensors)))


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _another_tokenizer(folder: Path) -> None:
    """Put a tokenizer beside an adapter that makes other tokens of some texts."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder.parents[1] / "models" / "tiny")
    tokenizer.add_tokens(["card"])
    tokenizer.save_pretrained(folder)


def _another_end(folder: Path) -> None:
    """Put the base's tokenizer beside an adapter that was taught to end with another token."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder.parents[1] / "models" / "tiny")
    tokenizer.add_special_tokens({"eos_token": "<|turn|>"})
    tokenizer.save_pretrained(folder)


ADAPTERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "nothing": (lambda folder: shutil.rmtree(folder), "ImportMissing", "no such folder"),
    "neither": (lambda folder: (folder / "adapter_config.json").unlink(), "ImportMissing", "neither"),
    "both": (lambda folder: (folder / "config.json").write_text("{}"), "ImportUnusable", "which is meant"),
    "a pickle": (_pickled, "ImportUnusable", "adapter_model.bin"),
    "broken weights": (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"no"), "ImportUnusable", "is broken"),
    "broken settings": (lambda folder: (folder / "adapter_config.json").write_text("[]"), "ImportUnusable", "is broken"),
    "another rank": (change("r", 8), "ImportUnfit", "has the shape"),
    "a weight less": (weights(lambda found: found.pop(_first(found))), "ImportUnfit", "1 weights are missing"),
    "a weight more": (weights(lambda found: found.update(odd=found[_first(found)].clone())), "ImportUnfit", "1 weights belong nowhere"),
    "a number that is none": (weights(lambda found: found[_first(found)].fill_(float("nan"))), "NotFinite", "not a number"),
    "an infinite number": (weights(lambda found: found[_first(found)].fill_(float("inf"))), "NotFinite", "infinite"),
    "integers": (weights(lambda found: found.update({k: v.int() for k, v in found.items()})), "ImportUnusable", "no numbers"),
    "an unknown type": (change("peft_type", "VERA"), "ImportUnusable", "peft_type is VERA"),
    "another task": (change("task_type", "SEQ_CLS"), "ImportUnusable", "task_type"),
    "a bias": (change("bias", "all"), "ImportUnusable", "bias"),
    "scales by module": (change("alpha_pattern", {"q_proj": 8}), "ImportUnusable", "alpha_pattern"),
    "a changed base": (change("init_lora_weights", "pissa"), "ImportUnusable", "init_lora_weights"),
    "a whole module": (change("modules_to_save", ["lm_head"]), "ImportUnusable", "modules_to_save"),
    "a setting of later": (change("use_magic", True), "ImportUnusable", "use_magic"),
    "modules that are not there": (change("target_modules", ["nowhere"]), "ImportUnfit", "cannot be put onto the base"),
    "a pattern of modules": (change("target_modules", ".*_proj"), "ImportUnusable", 'target_modules: ".*_proj"'),
    "patterns of modules": (change("target_modules", ["(q|k)_proj"]), "ImportUnusable", "target_modules"),
    "a pattern of what is left out": (change("exclude_modules", ".*k_proj"), "ImportUnusable", "exclude_modules"),
    "a pattern of layers": (change("layers_pattern", "(.+)+"), "ImportUnusable", 'layers_pattern: "(.+)+"'),
    "a scale that is none": (change("lora_alpha", float("nan")), "ImportUnusable", "lora_alpha: NaN"),
    "an infinite scale": (change("lora_alpha", float("inf")), "ImportUnusable", "lora_alpha: Infinity"),
    "a rank in words": (change("r", "16"), "ImportUnusable", 'r: "16"'),
    "a broken tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "TokenizerDiffers", "cannot be read"),
    "half a tokenizer": (lambda folder: (folder / "vocab.json").write_text("{}"), "TokenizerDiffers", "no tokenizer.json"),
    "another tokenizer": (_another_tokenizer, "TokenizerDiffers", "they differ in added_tokens"),
    "another end": (_another_end, "TokenizerDiffers", "they differ in eos_token"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason", "words"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_that_cannot_be_used_is_refused(
    made: tuple[Project, ArtifactReport, Path], spoil: Callable[[Path], object], reason: str, words: str
) -> None:
    project, _, folder = made
    spoil(folder)
    refusal(project, reason, words)


MODELS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "code of its own": (change("auto_map", {"AutoModel": "evil.Model"}), "ImportUnusable", "auto_map"),
    "another family": (change("architectures", ["BertModel"]), "ImportUnusable", "BertModel"),
    "another vocabulary": (change("vocab_size", 300), "ImportUnfit", "vocab_size is 300"),
    "another type": (change("model_type", "mistral"), "ImportUnfit", "model_type is mistral"),
    "more layers": (change("num_hidden_layers", 3), "ImportUnfit", "weights are missing"),
    "a weight more": (weights(lambda found: found.update(odd=found[_first(found)].clone())), "ImportUnfit", "unexpected"),
    "a number that is none": (weights(lambda found: found[_first(found)].fill_(float("nan"))), "NotFinite", "not a number"),
    "a number in words": (change("num_hidden_layers", "two"), "ImportUnusable", "num_hidden_layers"),
    "no heads": (change("num_attention_heads", 0), "ImportUnusable", "cannot load"),
    "mixed numbers": (weights(lambda found: found.update({_first(found): found[_first(found)].float()})), "ImportUnusable", "all of one of"),
    "a pickle": (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "ImportUnusable", "pytorch_model.bin"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason", "words"), MODELS.values(), ids=MODELS)
def test_a_model_that_cannot_be_used_is_refused(
    real: Project, spoil: Callable[[Path], object], reason: str, words: str
) -> None:
    folder = real.root / "pvc" / "made" / "it"
    whole_decoder(folder, real.root / "pvc" / "models" / "tiny")
    spoil(folder)
    refusal(real, reason, words)
