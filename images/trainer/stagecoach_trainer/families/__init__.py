"""How models of each transformer family are built for a training: one module a family."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoConfig

from stagecoach.contract import progress
from stagecoach.contract.reports import BadInput, Problem

IGNORED = -100  # the label of a token that takes no part in the loss


@dataclass(frozen=True)
class Parts:
    """What a trainer is made of, apart from its settings: the model and the trainer's own options."""

    model: Any
    options: dict[str, Any]


def pretrained(kind: Any, folder: str, precision: str, **options: Any) -> Any:
    """Return what a class of transformers makes of a folder: safetensors alone, no code, nothing from the network.

    The precision is a number format, or auto: that of the folder's own files.
    """
    settings(folder)
    with telling():
        return kind.from_pretrained(
            folder,
            dtype="auto" if precision == "auto" else getattr(torch, precision),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )


@contextmanager
def telling() -> Iterator[None]:
    """Have each weight that a model gets count as progress: a large one is read for long."""
    hook = register_module_parameter_registration_hook(lambda *_: progress.made())
    try:
        yield
    finally:
        hook.remove()


def settings(folder: str) -> Any:
    """Return what transformers makes of a model's config.json. Raises BadInput when that is nothing."""
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # it has an error of its own for a wrong type, and those of Python for what follows of it
        message = f"transformers cannot use {folder}/config.json: {error}"
        remedy = "Use a base whose architecture this version of transformers knows, and copy its config.json again."
        raise BadInput(Problem.of("BaseUnusable", message, value=f"{folder}/config.json", remedy=remedy)) from error


def refuse(method: str, what: str) -> NoReturn:
    """Raise BadInput for a method that the models of a family do not take."""
    remedy = "Create a run with LoRA, RsLoRA, DoRA or Full."
    message = f"the base is an {what}, and this method is not for such models."
    raise BadInput(Problem.of("MethodUnsuited", message, field="method.type", value=method, remedy=remedy))


def with_padding(tokenizer: Any) -> Any:
    """Return the tokenizer with a token to pad with, which comes after a text: its first token is at the first place.

    Heads and vectors are made of that place, and models count their positions from it. Padding is masked: which token
    it is decides nothing.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
    tokenizer.padding_side = "right"
    return tokenizer
