"""The files of an adapter in their one canonical form, so that equal weights have an equal digest."""

import json
from typing import Any

import safetensors.torch
from peft import get_peft_model_state_dict

from stagecoach.contract.layout import served_base_path
from stagecoach_trainer.bases import Base

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def files(model: Any, base: Base) -> dict[str, bytes]:
    """Return the adapter's files (name → content) as PEFT and vLLM read them."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in get_peft_model_state_dict(model).items()}
    metadata = {"format": "pt", "base_model": base.model, "tokenizer": base.tokenizer}
    return {
        WEIGHTS: _with_metadata(safetensors.torch.save(weights), metadata),
        CONFIG: _config(model.peft_config["default"], base),
    }


def target_modules(model: Any) -> tuple[str, ...]:
    """Return the module names that got an adapter, sorted."""
    return tuple(sorted(model.peft_config["default"].target_modules))


def _config(config: Any, base: Base) -> bytes:
    document = {key: _canonical(value) for key, value in config.to_dict().items()}
    document |= {"base_model_name_or_path": served_base_path(base.model), "inference_mode": True, "revision": None}
    # The library's version decides nothing about the adapter; it is in the record.
    document.pop("peft_version", None)
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def _canonical(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | list | tuple) else value


def _with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with metadata in a fixed order; the library writes it in a random one."""
    length = int.from_bytes(content[:8], "little")
    header = {"__metadata__": metadata} | json.loads(content[8 : 8 + length])
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]
