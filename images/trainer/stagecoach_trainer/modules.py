"""Which modules of a base can get an adapter. Looked up on a model without weights, so that an error costs seconds."""

from typing import Any, Literal, NoReturn

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer.bases import Base

FIELD = "method.targetModules.names"


def resolve(base: Base, targets: tuple[str, ...] | Literal["all-linear"]) -> tuple[str, ...]:
    """Return the module name suffixes that get an adapter, sorted.

    Raises BadInput when a target names no linear layer, or something that is none.
    """
    model = _skeleton(base)
    names = dict(model.named_modules())
    linear = {name for name, module in names.items() if isinstance(module, torch.nn.Linear | Conv1D)}
    linear -= {name for name, module in names.items() if module is model.get_output_embeddings()}
    suffixes = sorted({name.rpartition(".")[2] for name in linear})
    if targets == "all-linear":
        others = {name.rpartition(".")[2] for name in set(names) - linear}
        return tuple(sorted(linear)) if others & set(suffixes) else tuple(suffixes)
    _check(targets, set(names), linear, ", ".join(suffixes))
    return tuple(sorted(targets))


def _check(targets: tuple[str, ...], names: set[str], linear: set[str], there: str) -> None:
    for target in targets:
        matched = {name for name in names if name == target or name.endswith(f".{target}")}
        if not matched:
            _refuse(target, "the base has no module of this name", there)
        if other := sorted(matched - linear):
            _refuse(target, f"{other[0]} is not a linear layer that can be adapted", there)


def _skeleton(base: Base) -> Any:
    """Return the model on the meta device: all modules, no weights."""
    try:
        config = AutoConfig.from_pretrained(base.folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        message = f"transformers cannot build {base.architecture} from its config.json: {error}"
        problem = Problem.of(
            "BaseUnusable",
            message,
            field=f"candidates[{base.source.name}].model.uri",
            value=base.source.uri,
            remedy="Use a base whose architecture this version of transformers knows.",
        )
        raise BadInput(problem) from error


def _refuse(target: str, message: str, there: str) -> NoReturn:
    remedy = f"Name some of: {there}; or use preset all-linear."
    raise BadInput(Problem.of("UnknownTargetModule", f"{message}.", field=FIELD, value=target, remedy=remedy))
