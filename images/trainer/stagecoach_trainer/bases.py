"""Base models as they lie in the pod: identity, whether they can be used, and their tokenizer. No torch in here."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from stagecoach.contract.digests import short
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.prompts import Tokenizer
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store
from stagecoach.contract.uris import parse
from stagecoach_trainer import copies, places
from stagecoach_trainer.failures import at

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
ADAPTER = "adapter_config.json"
TOKENIZER_FILES = {
    TOKENIZER,
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
}
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")
CAUSAL_SUFFIXES = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class Base:
    """A base model that was hashed and found usable."""

    source: ModelSource
    folder: str
    model: str
    tokenizer: str
    architecture: str
    context: int
    revision: str | None = None  # the commit of a hub's model


def read(source: ModelSource, *, mismatch: str, remedy: str, folder: str | None = None) -> Base:
    """Hash and check a base model, where its URI says or in another folder.

    One that is not mounted is copied into the scratch folder once, and hashed on the way. Raises BadInput: `mismatch`
    is the reason when it is not what its digests say.
    """
    with at(f"{field_of(source)}.uri"):
        store, commit = (Store.local(folder), source.revision) if folder else _store(source)
        base = _read(source, store, commit)
    for what, expected, found in (("model", source.model, base.model), ("tokenizer", source.tokenizer, base.tokenizer)):
        if expected is not None and expected != found:
            message = f"the {what}'s files have digest {short(found)}, and {short(expected)} was expected."
            field = f"{field_of(source)}.uri"
            raise BadInput(Problem.of(mismatch, message, field=field, value=source.uri, remedy=remedy))
    return base


def _store(source: ModelSource) -> tuple[Store, str | None]:
    """Return where a base model lies, and its commit when that is a hub."""
    if not source.uri.startswith("hf://"):
        return places.store(source.uri), None
    from stagecoach_trainer.hub import HubModel

    folder = copies.folder(f"{source.uri}@{source.revision}")
    model = HubModel(parse(source.uri), source.revision, places.keys(source.uri), folder)
    return model, model.commit


def _read(source: ModelSource, store: Store, commit: str | None) -> Base:
    config = _config(store, source)
    names = store.names()
    architecture, context = _architecture(config, source), _context(config, source)
    _check_files(store, names, source)
    copy = copies.of(store, source.uri)
    return Base(
        source,
        copy.folder,
        copy.digest([name for name in names if _is_model_file(name)]),
        copy.digest([name for name in names if name in TOKENIZER_FILES]),
        architecture,
        context,
        commit,
    )


def field_of(source: ModelSource) -> str:
    """Return the spec field that names a base model."""
    return f"candidates[{source.name}].model"


def load_tokenizer(base: Base) -> Tokenizer:
    """Return the base's own tokenizer, read as its tokenizer.json says. Raises BadInput when it cannot be."""
    # The class itself, because AutoTokenizer imports torch, which takes seconds and hundreds of megabytes.
    from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

    try:
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(base.folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        _refuse(base.source, f"its tokenizer cannot be read: {error}", "Save the tokenizer again with transformers.")
    if isinstance(tokenizer.chat_template, dict):
        remedy = "Keep one template, named default, in chat_template.jinja."
        _refuse(base.source, "it has several chat templates, and which one to use is not said.", remedy)
    found: Tokenizer = tokenizer
    return found


def _refuse(source: ModelSource, message: str, remedy: str, reason: str = "BaseUnusable") -> NoReturn:
    field = f"{field_of(source)}.uri"
    raise BadInput(Problem.of(reason, message, field=field, value=source.uri, remedy=remedy))


def _config(store: Store, source: ModelSource) -> dict[str, Any]:
    try:
        config = json.loads(store.read(CONFIG))
    except FileNotFoundError:
        what = "no config.json in this folder" if store.exists() else "no such folder"
        _refuse(
            source, f"there is {what}.", "Put the base model's checkpoint there, or correct the URI.", "BaseMissing"
        )
    except ValueError as error:
        _refuse(source, f"its config.json is not JSON: {error}", "Copy the checkpoint again.")
    if not isinstance(config, dict):
        _refuse(source, "its config.json is not an object.", "Copy the checkpoint again.")
    return config


def _architecture(config: dict[str, Any], source: ModelSource) -> str:
    if config.get("auto_map"):
        _refuse(
            source,
            "its config.json names code of its own (auto_map), and code from a checkpoint is never run.",
            "Use a base whose architecture is part of transformers.",
        )
    if config.get("quantization_config"):
        _refuse(source, "its weights are quantized.", "Use the checkpoint with float16, bfloat16 or float32 weights.")
    named = config.get("architectures") or ["nothing"]
    architecture = str(named[0])
    if not architecture.endswith(CAUSAL_SUFFIXES):
        _refuse(
            source,
            f"its architecture is {architecture[:64]}, which is not a causal language model.",
            "Use a decoder whose architecture in config.json ends in ForCausalLM.",
        )
    return architecture[:64]


def _context(config: dict[str, Any], source: ModelSource) -> int:
    for key in CONTEXT_KEYS:
        if isinstance(value := config.get(key), int) and value > 0:
            return value
    _refuse(source, "its config.json does not say how long its context is.", "Set max_position_embeddings in it.")


def _check_files(store: Store, names: list[str], source: ModelSource) -> None:
    weights = {name for name in names if name.endswith(".safetensors")}
    if not weights:
        others = ", ".join([name for name in names if name.endswith((".bin", ".pt", ".pth", ".gguf"))][:5])
        there = f" (there is {others}, which may hold code or is of another format)" if others else ""
        remedy = "Convert it: load it where you trust it and call save_pretrained."
        _refuse(source, f"it has no .safetensors weights{there}.", remedy)
    if INDEX in names:
        missing = sorted(_indexed(store, source) - weights)
        if missing:
            message = f"it is incomplete: its index names files that are not there: {', '.join(missing[:5])}."
            _refuse(source, message, "Copy the checkpoint again.", "BaseMissing")
    if ADAPTER in names:
        # transformers would load it on top of the base, and nothing of it is in the base's digest.
        _refuse(source, f"it holds an {ADAPTER} beside the model.", "Remove the adapter, or merge it into the model.")
    if TOKENIZER not in names:
        remedy = "Load the tokenizer with transformers and save it into the folder again."
        _refuse(source, "it has no tokenizer.json.", remedy)


def _indexed(store: Store, source: ModelSource) -> set[str]:
    try:
        return set(json.loads(store.read(INDEX))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        _refuse(source, f"its {INDEX} is broken.", "Copy the checkpoint again.")


def _is_model_file(name: str) -> bool:
    return name in (CONFIG, "generation_config.json", INDEX) or name.endswith(".safetensors")
