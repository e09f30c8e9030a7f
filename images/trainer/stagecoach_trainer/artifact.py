"""The files of an adapter or model in their one canonical form, so that equal weights have an equal digest."""

import json
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import get_peft_model_state_dict

from stagecoach.contract.layout import served_base_path
from stagecoach.contract.store import Content
from stagecoach_trainer import places, sharding
from stagecoach_trainer.bases import GENERATION_CONFIG, Base

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


MODEL_CONFIG = "config.json"
# What a trainer sets in a model's configuration for its own ends; a user of the model needs the base's.
OF_THE_TRAINER = ("use_cache", "pad_token_id", "bos_token_id", "eos_token_id")
# A whole model is copied from a device and written piece by piece.
MAX_SHARD = "2GB"


def is_adapter(model: Any) -> bool:
    """Whether what was trained is an adapter, not the model itself."""
    return hasattr(model, "peft_config")


def files(model: Any, base: Base, precision: str) -> dict[str, Content]:
    """Return what is published of a trained model: its adapter, or the whole of it in the precision of the training."""
    return _adapter(model, base) if is_adapter(model) else _whole(model, base, precision)


def _whole(model: Any, base: Base, precision: str) -> dict[str, Content]:
    """Write the model's files into scratch, as transformers and vLLM read them, and return where they are."""
    folder = places.scratch() / "model"
    shutil.rmtree(folder, ignore_errors=True)
    model.to(getattr(torch, precision)).save_pretrained(folder, max_shard_size=MAX_SHARD)
    documents: dict[str, Content] = {MODEL_CONFIG: _model_config(folder, base)}
    if (generation := Path(base.folder) / GENERATION_CONFIG).exists():
        documents[GENERATION_CONFIG] = _json(_unversioned(generation))
    weights: dict[str, Content] = {path.name: path for path in folder.glob("model*.safetensors*")}
    return documents | weights


def _model_config(folder: Path, base: Base) -> bytes:
    found, before = _unversioned(folder / MODEL_CONFIG), _unversioned(Path(base.folder) / MODEL_CONFIG)
    for key in OF_THE_TRAINER:
        found.pop(key, None)
    kept = {key: before[key] for key in OF_THE_TRAINER if key in before}
    return _json(found | kept | {"stagecoach": {"base_model": base.model, "tokenizer": base.tokenizer}})


def _unversioned(path: Path) -> dict[str, Any]:
    """Return a configuration without the library's version: it decides nothing, and it is in the record."""
    document: dict[str, Any] = json.loads(path.read_text())
    document.pop("transformers_version", None)
    return document


def _json(document: Any) -> bytes:
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def _adapter(model: Any, base: Base) -> dict[str, Content]:
    state = get_peft_model_state_dict(model, sharding.beside_parts(model))
    return adapter_files(state, model.peft_config["default"], base)


def adapter_files(state: dict[str, Any], config: Any, base: Base) -> dict[str, Content]:
    """Return the files (name → content) of an adapter's weights and settings as PEFT and vLLM read them."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
    metadata = {"format": "pt", "base_model": base.model, "tokenizer": base.tokenizer}
    return {
        WEIGHTS: _with_metadata(safetensors.torch.save(weights), metadata),
        CONFIG: _config(config, base),
    }


def target_modules(model: Any) -> tuple[str, ...]:
    """Return the module names that got an adapter, sorted; none where the method has no such modules."""
    config = model.peft_config["default"] if is_adapter(model) else None
    return tuple(sorted(getattr(config, "target_modules", None) or ()))


def whole_modules(model: Any) -> tuple[str, ...] | None:
    """Return the modules that were trained whole beside the adapter, sorted."""
    config = model.peft_config["default"] if is_adapter(model) else None
    return tuple(sorted(getattr(config, "modules_to_save", None) or ())) or None


def _config(config: Any, base: Base) -> bytes:
    document = {key: _canonical(value) for key, value in config.to_dict().items()}
    document |= {"base_model_name_or_path": served_base_path(base.model), "inference_mode": True, "revision": None}
    # The library's version decides nothing about the adapter; it is in the record.
    document.pop("peft_version", None)
    if document.get("tokenizer_name_or_path"):
        document["tokenizer_name_or_path"] = served_base_path(base.model)
    return _json(document)


def _canonical(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | list | tuple) else value


def _with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with metadata in a fixed order; the library writes it in a random one."""
    length = int.from_bytes(content[:8], "little")
    header = {"__metadata__": metadata} | json.loads(content[8 : 8 + length])
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]
