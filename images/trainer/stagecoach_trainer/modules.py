"""Which modules of a base can get an adapter. Looked up on a model without weights, so that an error costs seconds."""

from collections.abc import Iterable
from typing import Any, Literal, NoReturn

import torch
from peft.utils.constants import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
)
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from stagecoach.contract.inputs import Ia3Method
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer.bases import Base
from stagecoach_trainer.failures import at
from stagecoach_trainer.families import settings

Targets = tuple[str, ...] | Literal["all-linear"]
FIELD = "method.targetModules.names"


def resolve(base: Base, targets: Targets) -> tuple[str, ...]:
    """Return the module name suffixes of a decoder that get an adapter, sorted.

    Raises BadInput when a target names no linear layer, or something that is none.
    """
    return choose(skeleton(base), targets)


def scaled(base: Base, method: Ia3Method) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the modules of a decoder that get factors, and those of them whose input is scaled, both sorted.

    Raises BadInput when a target names no linear layer, or when none are named and PEFT knows none for the base.
    """
    model = skeleton(base)
    kind = model.config.model_type
    known = TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind)
    targets = method.target_modules or (tuple(known) if known else None)
    if targets is None:
        problem = Problem.of(
            "UnknownTargetModule",
            f"PEFT knows no modules of {base.architecture} to scale.",
            field="method.targetModules",
            remedy="Name targetModules.names (keys, values, the feed-forward's last layer) and feedforwardModules.",
        )
        raise BadInput(problem)
    feedforward = method.feedforward_modules
    if feedforward is None:
        feedforward = tuple(TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(kind, ()))
    return choose(model, targets), tuple(sorted(feedforward))


def choose(model: Any, targets: Targets, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the module name suffixes of a model that get an adapter; none of them is in the modules `without`."""
    names = dict(model.named_modules())
    linear = {name for name, module in names.items() if isinstance(module, torch.nn.Linear | Conv1D)}
    linear -= {name for name, module in names.items() if module is model.get_output_embeddings()}
    linear -= {name for name in linear if _within(name, without)}
    suffixes = sorted({name.rpartition(".")[2] for name in linear})
    if targets == "all-linear":
        others = {name.rpartition(".")[2] for name in set(names) - linear}
        return tuple(sorted(linear)) if others & set(suffixes) else tuple(suffixes)
    open_names = {name for name in names if not _within(name, without)}
    _check(targets, open_names, linear, ", ".join(suffixes))
    return tuple(sorted(targets)) if not without else tuple(sorted(_matched(targets, linear)))


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _matched(targets: Iterable[str], names: set[str]) -> set[str]:
    return {name for name in names for target in targets if name == target or name.endswith(f".{target}")}


def _check(targets: tuple[str, ...], names: set[str], linear: set[str], there: str) -> None:
    for target in targets:
        matched = _matched((target,), names)
        if not matched:
            _refuse(target, "the base has no module of this name", there)
        if other := sorted(matched - linear):
            _refuse(target, f"{other[0]} is not a linear layer that can be adapted", there)


def skeleton(base: Base, kind: Any = AutoModelForCausalLM) -> Any:
    """Return the model on the meta device: all modules, no weights."""
    field = f"candidates[{base.source.name}].model.uri"
    with at(field):
        config = settings(base.folder)
    try:
        with torch.device("meta"):
            return kind.from_config(config, trust_remote_code=False)
    except MemoryError:
        raise
    except Exception as error:  # whatever follows of numbers that do not go together
        message = f"transformers cannot build {base.architecture} from its config.json: {error}"
        problem = Problem.of(
            "BaseUnusable",
            message,
            field=field,
            value=base.source.uri,
            remedy="Use a base whose architecture this version of transformers knows.",
        )
        raise BadInput(problem) from error


def _refuse(target: str, message: str, there: str) -> NoReturn:
    remedy = f"Name some of: {there}; or use preset all-linear."
    raise BadInput(Problem.of("UnknownTargetModule", f"{message}.", field=FIELD, value=target, remedy=remedy))
