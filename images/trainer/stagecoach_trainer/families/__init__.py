"""How models of each transformer family are built for a training: one module a family."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoConfig

from stagecoach.contract import progress
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed
from stagecoach_trainer import bases

IGNORED = -100  # the label of a token that takes no part in the loss
# BERT and its kin make a vector of the first token for a task of their pretraining; a folder may have it or not.
POOLER = "pooler"


@dataclass(frozen=True)
class Parts:
    """What a trainer is made of, apart from its settings: the model and the trainer's own options."""

    model: Any
    options: dict[str, Any]


@dataclass(frozen=True)
class Pretrained:
    """A model, and those of its weights that its folder had none for: they were drawn."""

    model: Any
    drawn: frozenset[str]


def pretrained(kind: Any, folder: str, precision: str, *, head: bool = False, **options: Any) -> Pretrained:
    """Return what a class of transformers makes of a folder: safetensors alone, no code, nothing from the network.

    The precision is a number format, or auto: that of the folder's own files. Raises BadInput when the folder lacks
    weights, for which transformers takes random numbers; those of a pooler it may lack, and of a `head`.
    """
    settings(folder)
    with telling(), _reading(folder):
        model, found = kind.from_pretrained(
            folder,
            dtype="auto" if precision == "auto" else getattr(torch, precision),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are told here, by their names
            output_loading_info=True,
            **options,
        )
    lacking = {
        "missing": set(found["missing_keys"]),
        "of another shape": {item[0] for item in found["mismatched_keys"]},
    }
    words = [
        f"{len(names)} are {how}, such as {names[0]}"
        for how, those in lacking.items()
        if (names := sorted(name for name in those if not _may_be_drawn(model, name, head=head)))
    ]
    if words:
        _refuse_weights(folder, f"the weights are not those of its config.json: {'; '.join(words)}.")
    return Pretrained(model, frozenset(name for those in lacking.values() for name in those))


def _may_be_drawn(model: Any, name: str, *, head: bool) -> bool:
    """Whether a folder may lack a weight: it is not of what was pretrained, or no random number is taken for it."""
    body = f"{model.base_model_prefix}."
    if name.removeprefix(body).startswith(f"{POOLER}.") or (head and not name.startswith(body)):
        return True
    # Positions that are computed: many a Pegasus is saved without them.
    return "Sinusoidal" in type(model.get_submodule(name.rpartition(".")[0])).__name__


@contextmanager
def _reading(folder: str) -> Iterator[None]:
    """Refuse weights that are cut off, or not where transformers looks for them.

    Raises StorageFailed when they are there and cannot be opened: libraries tell that as if they were not, without the
    number that what the system says has.
    """
    try:
        yield
    except SafetensorError as error:
        _refuse_weights(folder, f"the weights cannot be read: {error}.", error)
    except OSError as error:
        if error.errno is not None:
            raise
        words = str(error).rstrip(".")
        if _lacks(folder):
            _refuse_weights(folder, f"transformers does not find the weights: {words}.", error)
        message = f"in {folder}, the weights are there and cannot be opened: {words}."
        remedy = "See that the volume is healthy, and leave the base's files alone: the next attempt begins."
        raise StorageFailed(Problem.of("StorageFailed", message, value=folder, remedy=remedy)) from error


def _lacks(folder: str) -> bool:
    """Whether a folder has no weights under the names that transformers looks for.

    By the folder's own list: to ask for a file by its name is what may have failed.
    """
    try:
        return {bases.WHOLE, bases.INDEX}.isdisjoint(file.name for file in Path(folder).iterdir())
    except OSError:
        return False


def _refuse_weights(folder: str, message: str, cause: Exception | None = None) -> NoReturn:
    remedy = "Put the whole checkpoint there again, as save_pretrained writes it, or select another candidate."
    raise BadInput(Problem.of("BaseUnusable", f"in {folder}, {message}", value=folder, remedy=remedy)) from cause


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
