"""Base models as they lie in the pod: identity, whether they can be used, and their tokenizer. No torch in here."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from pydantic import TypeAdapter

from stagecoach.contract import uris
from stagecoach.contract.digests import short
from stagecoach.contract.inputs import Family
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.prompts import Tokenizer
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import copies, places, pooling, weights
from stagecoach_trainer.copies import Seen
from stagecoach_trainer.failures import at

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
WEIGHTS = ".safetensors"
WHOLE = f"model{WEIGHTS}"  # all weights in one file: transformers looks for it first, and for the index then
INDEX = f"{WHOLE}.index.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TEMPLATES = "additional_chat_templates"
ADAPTER = "adapter_config.json"
TOKENIZER_FILES = {
    TOKENIZER,
    TOKENIZER_CONFIG,
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
}
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")
ONE_TEMPLATE = "Keep one template, in chat_template.jinja."
CAUSAL_SUFFIXES = ("ForCausalLM", "LMHeadModel")
# Encoders that get a classification head or make vectors: by model_type, how their classes are called.
ENCODERS = {
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "modernbert": "ModernBert",
    "distilbert": "DistilBert",
    "deberta": "Deberta",
    "deberta-v2": "DebertaV2",
}
ENCODER_SUFFIXES = ("ForMaskedLM", "Model", "ForSequenceClassification", "ForTokenClassification", "ForPreTraining")

# Models that read a text whole and then write another: by model_type, the classes of theirs that can be loaded as such.
ENCODER_DECODERS = {
    "t5": ("T5ForConditionalGeneration",),
    "mt5": ("MT5ForConditionalGeneration",),
    "bart": ("BartForConditionalGeneration", "BartModel"),
    "marian": ("MarianMTModel",),
    "pegasus": ("PegasusForConditionalGeneration",),
}
# These count their positions from behind that of padding.
FROM_PADDING = (
    *("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
# These know how far tokens are apart, not where they stand: there is no end to it, only what they were trained on.
RELATIVE = {"T5ForConditionalGeneration": 512, "MT5ForConditionalGeneration": 512}


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
    pooling: str | None = None  # of one that makes vectors of texts
    seen: tuple[Seen, ...] = ()  # its files when they were hashed


_BASE: TypeAdapter[Base] = TypeAdapter(Base)


def line(base: Base) -> str:
    """Return a base model as text, for other processes of the same pod."""
    return _BASE.dump_json(base).decode()


def parse(text: str) -> Base:
    """Return the base model that was made a text."""
    return _BASE.validate_json(text)


def read(
    source: ModelSource,
    *,
    mismatch: str,
    remedy: str,
    folder: str | None = None,
    family: Family = Family.DECODER,
    embeds: bool = False,
) -> Base:
    """Hash and check a base model of a family, where its URI says or in another folder.

    One that is not mounted is copied into the scratch folder once, and hashed on the way. How tokens become a vector
    is part of it where it `embeds`. Raises BadInput: `mismatch` is the reason when it is not what its digests say.
    """
    with at(f"{field_of(source)}.uri", revision=f"{field_of(source)}.revision"):
        # A folder that a person names at a command line: links lead wherever they do.
        store, commit = (Store.local(folder, within="/"), source.revision) if folder else store_of(source)
        base = _read(source, store, commit, family, embeds=embeds)
    for what, expected, found in (("model", source.model, base.model), ("tokenizer", source.tokenizer, base.tokenizer)):
        if expected is not None and expected != found:
            message = f"the {what}'s files have digest {short(found)}, and {short(expected)} was expected."
            field = f"{field_of(source)}.uri"
            raise BadInput(Problem.of(mismatch, message, field=field, value=source.uri, remedy=remedy))
    return base


def store_of(source: ModelSource) -> tuple[Store, str | None]:
    """Return where a base model lies, and its commit when that is a hub."""
    if not source.uri.startswith("hf://"):
        return places.store(source.uri), None
    from stagecoach_trainer.hub import HubRepository

    place = uris.parse(source.uri)
    folder = copies.folder(f"{source.uri}@{source.revision}")
    name = f"{place.name}/{place.path}"
    keys, secret = places.keys(source.uri), places.secret(source.uri)
    model = HubRepository(name, "model", source.revision, keys, folder, secret)
    return model, model.commit


def _read(source: ModelSource, store: Store, commit: str | None, family: Family, *, embeds: bool) -> Base:
    config = read_config(store, source)
    names = store.names()
    architecture = architecture_of(config, source, family)
    context = context_of(config, source, architecture)
    check_weights(store, names, source)
    _check_generation(store, names, source)
    check_tokenizer(store, names, source)
    pooled = pooling.read(store, names, source) if embeds else None
    copy = copies.of(store, source.uri)
    digest = copy.digest([*(name for name in names if is_model_file(name)), *(pooled.files if pooled else ())])
    if source.model is None:  # else the digest alone decides: what was taken once is taken again
        _check_whole(copy.local, names, source)
    return Base(
        source,
        copy.folder,
        digest,
        copy.digest([name for name in names if name in TOKENIZER_FILES]),
        architecture,
        context,
        commit,
        pooled.mode if pooled else None,
        tuple(copy.seen),
    )


def check_unchanged(base: Base) -> Base:
    """Return a base as its files are seen now, so that none is hashed again each time.

    Raises StorageFailed when one of them is not what was hashed: nobody knows which content was used.
    """
    seen = []
    for file in base.seen:
        if (now := file.again(base.folder)) is None:
            message = f"{file.name} is no longer that of which the digest was taken, and the base has been used since."
            remedy = "Put back what was there, and leave it alone while runs and gates use it: the next attempt begins."
            where = f"{field_of(base.source)}.uri"
            raise StorageFailed(Problem.of("SourceChanged", message, field=where, value=base.source.uri, remedy=remedy))
        seen.append(now)
    return replace(base, seen=tuple(seen))


def field_of(source: ModelSource) -> str:
    """Return the spec field that names a base model."""
    return f"candidates[{source.name}].model"


@contextmanager
def loading(base: Base) -> Iterator[None]:
    """Name a base model in the problems of those who know a folder only.

    It is refused, and never tried again, only if it is still what was hashed. Raises StorageFailed otherwise.
    """
    with at(f"{field_of(base.source)}.uri", value=base.source.uri):
        try:
            yield
        except BadInput:
            check_unchanged(base)
            raise


def load_tokenizer(base: Base) -> Tokenizer:
    """Return the base's own tokenizer, read as its tokenizer.json says. Raises BadInput when it cannot be."""
    # The class itself, because AutoTokenizer imports torch, which takes seconds and hundreds of megabytes.
    from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

    try:
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(base.folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        _refuse(base.source, f"its tokenizer cannot be read: {error}", "Save the tokenizer again with transformers.")
    if isinstance(tokenizer.chat_template, dict):
        _refuse(base.source, "it has several chat templates, and which one to use is not said.", ONE_TEMPLATE)
    found: Tokenizer = tokenizer
    return found


def _refuse(source: ModelSource, message: str, remedy: str, reason: str = "BaseUnusable") -> NoReturn:
    field = f"{field_of(source)}.uri"
    raise BadInput(Problem.of(reason, message, field=field, value=source.uri, remedy=remedy))


def read_config(store: Store, source: ModelSource) -> dict[str, Any]:
    """Return what a model's config.json says. Raises BadInput."""
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


def architecture_of(config: dict[str, Any], source: ModelSource, family: Family) -> str:
    """Return the class of a model of a family. Raises BadInput when it cannot be used."""
    if config.get("auto_map"):
        _refuse(
            source,
            "its config.json names code of its own (auto_map), and code from a checkpoint is never run.",
            "Use a base whose architecture is part of transformers.",
        )
    if config.get("quantization_config"):
        _refuse(source, "its weights are quantized.", "Use the checkpoint with float16, bfloat16 or float32 weights.")
    if config.get("transformers_weights") is not None:
        message = (
            f"its config.json names the file of its weights (transformers_weights): {config['transformers_weights']}."
        )
        remedy = f"Name the file {WHOLE}, or list it in {INDEX}, and remove transformers_weights."
        _refuse(source, message, remedy)
    named = config.get("architectures") or ["nothing"]
    if not isinstance(named, list):
        _refuse(source, "in its config.json, architectures is not a list of names.", "Copy the checkpoint again.")
    if family is Family.ENCODER:
        return _encoder(config, str(named[0]), source)
    if family is Family.ENCODER_DECODER:
        return _encoder_decoder(config, str(named[0]), source)
    architecture = str(named[0])
    if not architecture.endswith(CAUSAL_SUFFIXES):
        _refuse(
            source,
            f"its architecture is {architecture[:64]}, which is not a causal language model, and problem.architecture"
            " is Decoder.",
            "Use a decoder whose architecture in config.json ends in ForCausalLM, or make the project's"
            " problem.architecture Encoder or EncoderDecoder if it is one.",
        )
    return architecture[:64]


def _encoder(config: dict[str, Any], architecture: str, source: ModelSource) -> str:
    """Return the class of an encoder; some checkpoints name a model_type only."""
    name = ENCODERS.get(str(config.get("model_type")))
    if name and architecture == "nothing":
        return f"{name}Model"
    if name is None or architecture not in {f"{name}{suffix}" for suffix in ENCODER_SUFFIXES}:
        _refuse(
            source,
            f"its architecture is {architecture[:64]}, which is not an encoder that can be trained here, and"
            " problem.architecture is Encoder.",
            f"Use a checkpoint of {', '.join(ENCODERS.values())} that ends in {', '.join(ENCODER_SUFFIXES[:4])}, or"
            " make the project's problem.architecture Decoder if it is a causal language model.",
        )
    return architecture


def _encoder_decoder(config: dict[str, Any], architecture: str, source: ModelSource) -> str:
    if architecture not in ENCODER_DECODERS.get(str(config.get("model_type")), ()):
        known = ", ".join(name for names in ENCODER_DECODERS.values() for name in names)
        _refuse(
            source,
            f"its architecture is {architecture[:64]}, which is not an encoder-decoder that can be trained here, and"
            " problem.architecture is EncoderDecoder.",
            f"Use a checkpoint of {known}, or make the project's problem.architecture Decoder if it is a causal"
            " language model.",
        )
    return architecture


def context_of(config: dict[str, Any], source: ModelSource, architecture: str) -> int:
    """Return the longest context in tokens. Raises BadInput when it is not said."""
    for key in CONTEXT_KEYS:
        if isinstance(value := config.get(key), int) and value > 0:
            return value - _reserved(config, source)
    if architecture in RELATIVE:
        return RELATIVE[architecture]
    _refuse(source, "its config.json does not say how long its context is.", "Set max_position_embeddings in it.")


def _reserved(config: dict[str, Any], source: ModelSource) -> int:
    """Return how many positions no token gets."""
    if config.get("model_type") not in FROM_PADDING:
        return 0
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int):
        _refuse(source, "in its config.json, pad_token_id is not a number.", "Copy the checkpoint again.")
    return padding + 1


def check_weights(store: Store, names: list[str], source: ModelSource) -> None:
    """Raise BadInput when a model has not all of its weights as safetensors."""
    there = {name for name in names if name.endswith(WEIGHTS)}
    if not there:
        others = ", ".join([name for name in names if name.endswith((".bin", ".pt", ".pth", ".gguf"))][:5])
        instead = f" (there is {others}, which may hold code or is of another format)" if others else ""
        remedy = "Convert it: load it where you trust it and call save_pretrained."
        _refuse(source, f"it has no .safetensors weights{instead}.", remedy)
    if INDEX in names:
        missing = sorted(_indexed(store, source) - there)
        if missing:
            message = f"it is incomplete: its index names files that are not there: {', '.join(missing[:5])}."
            _refuse(source, message, "Copy the checkpoint again.", "BaseMissing")
    if ADAPTER in names:
        # transformers would load it on top of the base, and nothing of it is in the base's digest.
        _refuse(source, f"it holds an {ADAPTER} beside the model.", "Remove the adapter, or merge it into the model.")


def _check_whole(store: Store, names: list[str], source: ModelSource) -> None:
    """Refuse weights that are cut off: as they lie in the pod, or what is copied would be read once more."""
    for name in _loaded(store, names, source):
        if words := weights.fault(store, name):
            _refuse(source, f"{words}.", f"Put the whole {name} there again.")


def _loaded(store: Store, names: list[str], source: ModelSource) -> list[str]:
    """Return the files of weights that a library reads; a publisher may have others beside them, for other libraries.

    With neither of the names that transformers looks for, an engine reads them all.
    """
    if WHOLE in names:
        return [WHOLE]
    if INDEX in names:
        return sorted(_indexed(store, source))
    return [name for name in names if name.endswith(WEIGHTS)]


def _check_generation(store: Store, names: list[str], source: ModelSource) -> None:
    """Refuse settings of generation that could not be published with a whole model: that is hours later."""
    if GENERATION_CONFIG not in names:
        return
    try:
        usable = isinstance(json.loads(store.read(GENERATION_CONFIG)), dict)
    except ValueError:
        usable = False
    if not usable:
        _refuse(source, f"its {GENERATION_CONFIG} is not a JSON object.", "Copy it again, or remove it.")


def check_tokenizer(store: Store, names: list[str], source: ModelSource) -> None:
    """Refuse what would make transformers read a file that is not in the tokenizer's digest."""
    if TOKENIZER not in names:
        remedy = "Load the tokenizer with transformers and save it into the folder again."
        _refuse(source, "it has no tokenizer.json.", remedy)
    if TOKENIZER_CONFIG in names and (versions := _versions(store, source)):
        # transformers takes the newest of them that is not newer than itself.
        message = f"its {TOKENIZER_CONFIG} names other tokenizers by version (fast_tokenizer_files): {versions}."
        remedy = f"Copy the version you mean to {TOKENIZER}, and remove fast_tokenizer_files."
        _refuse(source, message, remedy)
    if TEMPLATES in store.folders():
        _refuse(source, f"it has a folder {TEMPLATES}, and which template to use is not said.", ONE_TEMPLATE)


def _versions(store: Store, source: ModelSource) -> str:
    """Return the tokenizer files other than tokenizer.json that its settings name."""
    try:
        named = json.loads(store.read(TOKENIZER_CONFIG)).get("fast_tokenizer_files", [])
        return ", ".join(name for name in named if name != TOKENIZER)
    except (ValueError, AttributeError, TypeError) as error:
        _refuse(source, f"its {TOKENIZER_CONFIG} is broken: {error}", "Save the tokenizer again with transformers.")


def _indexed(store: Store, source: ModelSource) -> set[str]:
    try:
        return set(map(str, json.loads(store.read(INDEX))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        _refuse(source, f"its {INDEX} is broken.", "Copy the checkpoint again.")


def is_model_file(name: str) -> bool:
    """Whether a file is part of a model's identity."""
    return name in (CONFIG, GENERATION_CONFIG, INDEX) or name.endswith(WEIGHTS)
